"""Why a file is not taken, in words: the file is named, and the limit where there is one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from chat.errors import ChatError

_TRY_TEXT = gettext_noop("%(name)s could not be read. Try a text, PDF, DOCX, XLSX or HTML file.")
_WORDS: dict[str, tuple[int, str]] = {
    "too_large": (
        413,
        gettext_noop("%(name)s has %(size)d bytes; at most %(limit)d are read of a file."),
    ),
    "too_many_pages": (
        413,
        gettext_noop("%(name)s has %(pages)d pages; at most %(limit)d are read of a file."),
    ),
    "too_many_characters": (
        413,
        gettext_noop(
            "%(name)s has more than %(limit)d characters of text. Nothing was cut: attach a part."
        ),
    ),
    "too_slow": (
        413,
        gettext_noop("%(name)s could not be read within %(limit)d seconds."),
    ),
    "too_much_memory": (
        413,
        gettext_noop("%(name)s could not be read within %(limit)d MB of memory."),
    ),
    "archive_entries": (
        413,
        gettext_noop("%(name)s consists of %(entries)d parts; at most %(limit)d are looked at."),
    ),
    "archive_bomb": (
        413,
        gettext_noop(
            "%(name)s becomes far larger when it is unpacked (at most %(limit)d bytes), as no "
            "honest document does."
        ),
    ),
    "quota": (
        413,
        gettext_noop(
            "With %(name)s your files would take %(size)d bytes; you have %(limit)d. Delete "
            "sessions with files that you no longer need."
        ),
    ),
    "encrypted": (
        400,
        gettext_noop("%(name)s is locked with a password. Save it without one and try again."),
    ),
    "wrong_kind": (
        400,
        gettext_noop("%(name)s is not the %(kind)s file that its name promises."),
    ),
    "encoding_unknown": (
        400,
        gettext_noop(
            "The text of %(name)s is in an encoding that could not be made out. Save it as UTF-8."
        ),
    ),
    "no_text": (
        400,
        gettext_noop(
            "There is no text in %(name)s. Pictures of text, such as scanned pages, are not read."
        ),
    ),
    "entities": (
        400,
        gettext_noop("%(name)s declares XML entities, which such a file must not."),
    ),
    "broken": (400, gettext_noop("%(name)s is damaged and could not be read (%(reason)s).")),
    "not_read": (400, _TRY_TEXT),
}


class FileRefused(ChatError):
    """A file that is not taken. Fields: file, and what its words name. code: `file_` and why."""

    def __init__(self, why: str, name: str, **fields: Any) -> None:
        self.status, words = _WORDS[why]  # type: ignore[misc]
        self.code = f"file_{why}"  # type: ignore[misc]
        shown = fields | ({"kind": fields["kind"].upper()} if "kind" in fields else {})
        super().__init__(_(words) % {"name": name, **shown}, param="file", file=name, **fields)


class FileNotFound(ChatError):
    """Also said of another person's file."""

    code = "file_not_found"
    status = 404

    def __init__(self, file_id: object) -> None:
        super().__init__(
            _("There is no file %(id)s. Attach it again.") % {"id": file_id},
            param="files",
            file_id=str(file_id),
        )


class FileInUse(ChatError):
    """It belongs to what was said, and goes with it. Fields: file."""

    code = "file_in_use"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(
            _("%(name)s belongs to a message and is deleted with its session.") % {"name": name},
            file=name,
        )


class TooManyFiles(ChatError):
    """Fields: count, limit."""

    code = "too_many_files"
    status = 413

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(
            _("A message takes at most %(limit)d files; these are %(count)d.")
            % {"count": count, "limit": limit},
            param="files",
            count=count,
            limit=limit,
        )


class FilesNotRead(ChatError):
    """The model goes on with a text, and is not told about files. Fields: model."""

    code = "files_not_read"

    def __init__(self, model: str) -> None:
        super().__init__(
            _("The model %(model)s goes on with a text and reads no files. Choose a chat model.")
            % {"model": model},
            param="files",
            model=model,
        )


class NoRoomForFiles(ChatError):
    """Fields: names, room and context_length, in tokens."""

    code = "no_room_for_files"
    status: ClassVar[int] = 400

    def __init__(self, names: list[str], room: int, context_length: int) -> None:
        super().__init__(
            _(
                "There is no room for %(names)s: of the %(context_length)d tokens that this model "
                "reads, the conversation and an answer leave %(room)d. Start a new session."
            )
            % {"names": ", ".join(names), "room": room, "context_length": context_length},
            param="files",
            names=names,
            room=room,
            context_length=context_length,
        )
