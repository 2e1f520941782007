"""The record: users, their presets, sessions, a tree of messages, generations, and the numbered
event log."""

from chat.models.accounts import AccountLink, ApiToken
from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.files import File, MessageFile, MessageReading
from chat.models.generation import Event, Generation, can_continue
from chat.models.people import SetupToken, User
from chat.models.preset import Preset

__all__ = [
    "AccountLink",
    "ApiToken",
    "Event",
    "File",
    "Generation",
    "Message",
    "MessageFile",
    "MessageReading",
    "Preset",
    "SearchText",
    "Session",
    "SetupToken",
    "User",
    "can_continue",
    "sessions_of",
]
