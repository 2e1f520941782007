"""The record: users, sessions, a tree of messages, generations, and the numbered event log."""

from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.feedback import Feedback, rating_of
from chat.models.folders import Folder
from chat.models.generation import Event, Generation, can_continue
from chat.models.people import SetupToken, User
from chat.models.sharing import ShareLink

__all__ = [
    "Event",
    "Feedback",
    "Folder",
    "Generation",
    "Message",
    "SearchText",
    "Session",
    "SetupToken",
    "ShareLink",
    "User",
    "can_continue",
    "rating_of",
    "sessions_of",
]
