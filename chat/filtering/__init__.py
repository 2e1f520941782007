"""What may not be said: filters over what people write and over what a model answers.

A filter only finds; here it is decided what follows. A match with a replacement is replaced
wherever it stands. One without refuses the message, or ends the answer in front of it with the
finish reason content_filter. Which filters are at work says TINYLLM_FILTERS; none by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from chat.errors import MessageRefused
from chat.filtering.kinds import ContentFilter, Match
from chat.filtering.personal import PersonalData
from chat.filtering.words import WordList
from chat.plugins import FILTERS, installed, load

BUILT_IN: dict[str, Callable[[], ContentFilter]] = {
    "words": WordList.configured,
    "personal": PersonalData,
}


@cache
def filters() -> tuple[ContentFilter, ...]:
    """Those that are set, in their order. A name with a dot is a class or function of somebody
    else's, called without arguments, and so is the name of a plugin. Raises
    ImproperlyConfigured."""
    return tuple(_made(name) for name in settings.TINYLLM_FILTERS)


def incoming(text: str) -> str:
    """A person's message as it may be kept and read. Raises MessageRefused."""
    found = matches(filters(), text)
    refused = [match for match in found if match.replacement is None]
    if refused:
        raise MessageRefused([text[match.start : match.end] for match in refused])
    return replaced(text, found)


def matches(chosen: Iterable[ContentFilter], text: str) -> list[Match]:
    """Of all filters, from left to right. Of two that overlap the first one stays, and of two that
    begin together the one without a replacement, then the longer one."""
    found = [match for each in chosen for match in each.find(text)]
    found.sort(key=lambda its: (its.start, its.replacement is not None, -its.end))
    kept: list[Match] = []
    for match in found:
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
    return kept


def replaced(text: str, found: Iterable[Match]) -> str:
    parts, at = [], 0
    for match in found:
        parts += [text[at : match.start], match.replacement or ""]
        at = match.end
    return "".join(parts) + text[at:]


def _made(name: str) -> ContentFilter:
    plugins = installed(FILTERS)
    try:
        if name in plugins and name not in BUILT_IN:
            factory = load(FILTERS, name)
        else:
            factory = BUILT_IN[name] if name in BUILT_IN else import_string(name)
    except ImportError as error:
        known = ", ".join([*BUILT_IN, *plugins])
        raise ImproperlyConfigured(
            f"TINYLLM_FILTERS names {name!r}, which is none of {known} and cannot be imported: "
            f"{error}"
        ) from error
    made: ContentFilter = factory()
    return made
