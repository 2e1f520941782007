"""ChatGPT's export, conversations.json: a tree of nodes, of which some are the site's own business.

A node without a message, of a tool, of the system, hidden, or without text is left out, and what
follows it follows the message before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from chat.imports.shapes import (
    ImportedMessage,
    ImportedSession,
    Unreadable,
    parents_first,
    text_of,
    time_of,
)

_ROLES = ("user", "assistant")
_TEXTS = ("text", "multimodal_text")
_TICK = timedelta(milliseconds=1)


def is_chatgpt(told: dict[str, Any]) -> bool:
    return isinstance(told.get("mapping"), dict)


def read(told: dict[str, Any]) -> ImportedSession:
    """Raises Unreadable."""
    mapping = told["mapping"]
    began = time_of(told.get("create_time"), timezone.now())
    parents = {key: _parent(node) for key, node in mapping.items()}
    above: dict[str | None, str | None] = {None: None}
    times: dict[str | None, datetime] = {None: began}
    messages: list[ImportedMessage] = []
    for key in parents_first(parents):
        parent = parents[key] if parents[key] in mapping else None
        message = _message(key, mapping[key], above[parent], times[parent] + _TICK)
        above[key] = message.key if message else above[parent]
        times[key] = message.created_at if message else times[parent]
        messages += [message] if message else []
    if not messages:
        raise Unreadable(_("It has no messages of a person or a model."))
    current = told.get("current_node")
    said = sum(isinstance(node.get("message"), dict) for node in mapping.values())
    return ImportedSession(
        key=f"chatgpt:{told.get('conversation_id') or told.get('id') or messages[0].key}",
        title=text_of(told.get("title") or "", "title"),
        created_at=began,
        updated_at=time_of(told.get("update_time"), max(times.values())),
        messages=messages,
        shown=above.get(current) if isinstance(current, str) else None,
        archived=told.get("is_archived") is True,
        left_out=said - len(messages),
    )


def _parent(node: Any) -> str | None:
    if not isinstance(node, dict):
        raise Unreadable(_("A node of its tree is not an object."))
    parent = node.get("parent")
    return parent if isinstance(parent, str) else None


def _message(
    key: str, node: dict[str, Any], parent: str | None, otherwise: datetime
) -> ImportedMessage | None:
    message = node.get("message")
    if not isinstance(message, dict):
        return None
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    metadata = message.get("metadata")
    is_hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    # What is said to someone else than all is a call of a tool.
    if role not in _ROLES or is_hidden or message.get("recipient", "all") != "all":
        return None
    text = _text(content)
    if not text.strip():
        return None
    at = time_of(message.get("create_time"), otherwise)
    return ImportedMessage(key, parent, role, text_of(text, "content"), at)


def _text(content: Any) -> str:
    if not isinstance(content, dict) or content.get("content_type") not in _TEXTS:
        return ""
    parts = content.get("parts")
    texts = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    return "\n".join(texts)
