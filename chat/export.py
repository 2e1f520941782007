"""One session as a file of its owner's: all of its branches, with what was measured, and when."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils.translation import gettext as _

from chat.branches import branch
from chat.files.selectors import exported_files
from chat.models import Generation, Message, Session, Summary, rating_of
from chat.selectors import session_get

SCHEMA = "tinyllm.session"
VERSION = 1
"""Goes up when a field changes its meaning or goes away, not when one is added."""

NUMBERS = (
    "model",
    "status",
    "finish_reason",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "timings",
    "seed",
    "deterministic",
    "sampling",
    "context",
    "fingerprint",
    "engine",
    "request",
    "error",
    "created_at",
    "finished_at",
)

SUMMARY = (
    "id",
    "message_id",
    "text",
    "messages",
    "model",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "sampling",
    "fingerprint",
    "created_at",
)


def exported(*, owner_id: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    """What JSON can carry, in four queries (six where there are files): the session, its summaries
    of earlier messages, and its messages from the oldest on, each with its parent's id, its files
    with the text in them, and the generations that wrote it. Raises SessionNotFound."""
    session = session_get(owner_id=owner_id, session_id=session_id)
    rows = Message.objects.filter(session=session).select_related("feedback")
    messages = list(rows.order_by("created_at", "id"))
    attached = exported_files(messages)
    generations = Generation.objects.filter(session=session).order_by("created_at")
    written: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for row in generations.values("id", "message_id", *NUMBERS):
        written.setdefault(row.pop("message_id"), []).append(row)
    shown = branch(messages)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "session": _head(session),
        "shown": shown[-1].id if shown else None,
        "summaries": list(Summary.objects.filter(session=session).values(*SUMMARY)),
        "messages": [
            _body(message, written.get(message.id, []), attached.get(message.id, {}))
            for message in messages
        ],
    }


def _head(session: Session) -> dict[str, Any]:
    names = ("id", "title", "model", "settings", "pinned", "archived", "created_at", "updated_at")
    return {name: getattr(session, name) for name in names}


def _body(
    message: Message, generations: list[dict[str, Any]], attached: dict[str, Any]
) -> dict[str, Any]:
    names = ("id", "parent_id", "role", "content", "created_at")
    told = {name: getattr(message, name) for name in names} | {"generations": generations}
    rating, comment = rating_of(message)
    rated = {"rating": rating, "comment": comment} if rating else {}
    return told | {"files": [], "passages": []} | attached | rated


def as_markdown(told: dict[str, Any]) -> str:
    """The same for people. Messages are numbered branch by branch; one that does not follow the
    message above it says which one it follows."""
    head = told["session"]
    lines = [f"# {head['title']}", "", f"*{head['model']} · {_time(head['created_at'])}*"]
    numbers: dict[uuid.UUID, int] = {}
    summaries: dict[uuid.UUID, list[str]] = {}
    for summary in told["summaries"]:
        summaries.setdefault(summary["message_id"], []).append(summary["text"])
    above: uuid.UUID | None = None
    for message in _by_branch(told["messages"]):
        number = numbers[message["id"]] = len(numbers) + 1
        lines += ["", f"## {_heading(message, number, numbers, above)}", "", message["content"]]
        if message["files"]:
            names = ", ".join(file["name"] for file in message["files"])
            lines += ["", "*" + _("Files: {names}").format(names=names) + "*"]
        lines += ["", *(f"*{_measured(each)}*" for each in message["generations"])]
        for text in summaries.get(message["id"], []):
            lines += ["", f"> **{_('Summary of what came before')}**", ">"]
            lines += [f"> {line}" for line in text.splitlines()]
        above = message["id"]
    return "\n".join(lines).rstrip() + "\n"


def _by_branch(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each message behind its parent, a branch to its end before the next one begins."""
    children: dict[uuid.UUID | None, list[dict[str, Any]]] = {}
    for message in messages:
        children.setdefault(message["parent_id"], []).append(message)
    ordered, waiting = [], children.get(None, [])[::-1]
    while waiting:
        message = waiting.pop()
        ordered.append(message)
        waiting += children.get(message["id"], [])[::-1]
    return ordered


def _heading(
    message: dict[str, Any], number: int, numbers: dict[uuid.UUID, int], above: uuid.UUID | None
) -> str:
    name = _("You") if message["role"] == Message.Role.USER else _("Answer")
    heading = f"{number}. {name} · {_time(message['created_at'])}"
    parent = message["parent_id"]
    if parent == above:
        return heading
    if parent is None:
        return heading + " · " + _("another beginning")
    return heading + " · " + _("after no. %(number)d") % {"number": numbers[parent]}


def _measured(generation: dict[str, Any]) -> str:
    numbers = [
        generation["model"],
        generation["status"],
        _("{n} tokens").format(n=generation["output_tokens"]),
    ]
    timings = generation["timings"]
    if speed := timings.get("tokens_per_s"):
        numbers.append(_("{n} tokens/s").format(n=round(speed, 1)))
    if first := timings.get("first_token_s"):
        numbers.append(_("first token after {n} s").format(n=round(first, 3)))
    if generation["seed"] is not None:
        numbers.append(_("seed {n}").format(n=generation["seed"]))
    return " · ".join(numbers)


def _time(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
