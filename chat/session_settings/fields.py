"""What can be set for a session, as a person reads it: a name, what it does, what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

MAX_SYSTEM_PROMPT = 100_000
"""Characters."""

Kind = Literal["text", "number", "lines", "choice"]
Words = str | Promise


@dataclass(frozen=True, slots=True)
class Field:
    """allowed: in words. chat_only: says nothing to a model that goes on with a text."""

    name: str
    kind: Kind
    label: Words
    help: Words
    allowed: Words
    chat_only: bool = False


SYSTEM_PROMPT = Field(
    "system_prompt",
    "text",
    _("System prompt"),
    _(
        "What the model is told before the conversation: who it is, how it should answer. Empty: "
        "what the model's own template says, if anything. A change holds from the next answer on; "
        "for it the conversation is read again."
    ),
    _("text of at most 100,000 characters"),
    chat_only=True,
)
WHEN_FULL = Field(
    "when_full",
    "choice",
    _("When the context is full"),
    _(
        "A model reads only so many tokens at once. A line shows where its memory begins. "
        "The summary is the model's own; a story and a temporary session have none, and there the "
        "oldest turns are left out."
    ),
    _("refuse, slide or summarise"),
)
SAMPLING = (
    Field(
        "temperature",
        "number",
        _("Temperature"),
        _("How daring the choice of words is. 0 always takes the likeliest."),
        _("0 to 2"),
    ),
    Field(
        "top_k",
        "number",
        _("Top-k"),
        _("Only the k likeliest tokens may be chosen. 0 lets all in."),
        _("a whole number from 0"),
    ),
    Field(
        "top_p",
        "number",
        _("Top-p"),
        _("Only the likeliest tokens that together have this probability. 1 lets all in."),
        _("above 0, at most 1"),
    ),
    Field(
        "min_p",
        "number",
        _("Min-p"),
        _("Only tokens that are at least this share as likely as the likeliest. 0 lets all in."),
        _("0 to 1"),
    ),
    Field(
        "repetition_penalty",
        "number",
        _("Repetition penalty"),
        _("Above 1, what was read or written before becomes less likely. 1 is off."),
        _("above 0, at most 10"),
    ),
    Field(
        "presence_penalty",
        "number",
        _("Presence penalty"),
        _("Taken off once for a token that the answer already has. 0 is off."),
        _("-2 to 2"),
    ),
    Field(
        "frequency_penalty",
        "number",
        _("Frequency penalty"),
        _("Taken off each time that the answer has used a token. 0 is off."),
        _("-2 to 2"),
    ),
    Field(
        "max_tokens",
        "number",
        _("Longest answer"),
        _("Tokens after which an answer ends. It can be continued."),
        _("a whole number from 1"),
    ),
    Field(
        "seed",
        "number",
        _("Seed"),
        _("The same seed, text and settings give the same answer. Empty: a new one each time."),
        _("a whole number from 0"),
    ),
    Field(
        "stop",
        "lines",
        _("Stop strings"),
        _("The answer ends before any of these. One on each line; \\n stands for a line break."),
        _("at most 16 strings, none of them empty"),
    ),
)
FIELDS = (SYSTEM_PROMPT, *SAMPLING, WHEN_FULL)
BY_NAME = {field.name: field for field in FIELDS}
