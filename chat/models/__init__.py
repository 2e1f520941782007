"""The record: users, sessions, a tree of messages, generations, and the numbered event log."""

from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.generation import Event, Generation, can_continue
from chat.models.operations import AuditEntry, OperatorRights
from chat.models.people import SetupToken, User
from chat.models.settings import SiteSetting
from chat.models.usage import Quota, Usage

__all__ = [
    "AuditEntry",
    "Event",
    "Generation",
    "Message",
    "OperatorRights",
    "Quota",
    "SearchText",
    "Session",
    "SetupToken",
    "SiteSetting",
    "Usage",
    "User",
    "can_continue",
    "sessions_of",
]
