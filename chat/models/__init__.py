"""The record: users, their presets, sessions, a tree of messages, generations, and the numbered
event log."""

from chat.models.accounts import AccountLink, ApiToken
from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.feedback import Feedback, rating_of
from chat.models.files import File, MessageFile, MessageReading
from chat.models.folders import Folder
from chat.models.generation import Event, Generation, can_continue
from chat.models.people import SetupToken, User
from chat.models.preset import Preset
from chat.models.sharing import ShareLink

__all__ = [
    "AccountLink",
    "ApiToken",
    "Event",
    "Feedback",
    "File",
    "Folder",
    "Generation",
    "Message",
    "MessageFile",
    "MessageReading",
    "Preset",
    "SearchText",
    "Session",
    "SetupToken",
    "ShareLink",
    "User",
    "can_continue",
    "rating_of",
    "sessions_of",
]
