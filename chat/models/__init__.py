"""The record: users, sessions, a tree of messages, generations, and the numbered event log."""

from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.files import File, MessageFile, MessageReading
from chat.models.generation import Event, Generation, can_continue
from chat.models.people import SetupToken, User

__all__ = [
    "Event",
    "File",
    "Generation",
    "Message",
    "MessageFile",
    "MessageReading",
    "SearchText",
    "Session",
    "SetupToken",
    "User",
    "can_continue",
    "sessions_of",
]
