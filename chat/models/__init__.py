"""The record: users, their presets, sessions, a tree of messages, generations, and the numbered
event log."""

from chat.models.accounts import AccountLink, ApiToken
from chat.models.conversation import Message, SearchText, Session, sessions_of
from chat.models.encryption import EncryptionKey
from chat.models.feedback import Feedback, rating_of
from chat.models.files import File, FileVectors, MessageFile, MessageReading
from chat.models.folders import Folder
from chat.models.generation import Event, Generation, can_continue
from chat.models.operations import AuditEntry, OperatorRights
from chat.models.oversight import BreakGlass, Retention
from chat.models.people import SetupToken, User
from chat.models.preset import Preset, PresetVersion
from chat.models.saved_prompt import SavedPrompt, SavedPromptVersion
from chat.models.settings import SiteSetting
from chat.models.sharing import ShareLink
from chat.models.summary import Summary
from chat.models.usage import Quota, Usage

__all__ = [
    "AccountLink",
    "ApiToken",
    "AuditEntry",
    "BreakGlass",
    "EncryptionKey",
    "Event",
    "Feedback",
    "File",
    "FileVectors",
    "Folder",
    "Generation",
    "Message",
    "MessageFile",
    "MessageReading",
    "OperatorRights",
    "Preset",
    "PresetVersion",
    "Quota",
    "Retention",
    "SavedPrompt",
    "SavedPromptVersion",
    "SearchText",
    "Session",
    "SetupToken",
    "ShareLink",
    "SiteSetting",
    "Summary",
    "Usage",
    "User",
    "can_continue",
    "rating_of",
    "sessions_of",
]
