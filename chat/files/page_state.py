"""What a page knows of files: limits that it can check by itself, and words."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from chat.reading.kinds import BY_END, CODE

LONG_PASTE = 4_000
"""Characters of pasted text from which on it becomes a file."""


def file_limits() -> dict[str, Any]:
    return {
        "bytes": settings.TINYLLM_FILE_MB * 1_000_000,
        "count": settings.TINYLLM_FILES_PER_MESSAGE,
        "paste": LONG_PASTE,
        "accept": ",".join(sorted({".txt", "text/*", *BY_END, *CODE})),
    }


def file_strings() -> dict[str, str]:
    return {
        "file_reading": _("Reading…"),
        "file_attached": _("{name} is attached."),
        "file_removed": _("{name} is no longer attached."),
        "file_remove": _("Remove {name}"),
        "file_put_back": _("Put {name} back as text"),
        "file_pasted": _("Pasted text"),
        "file_too_large": _("{name} is larger than {limit} MB, the most that is read of a file."),
        "file_too_many": _("{name} is not attached: a message takes at most {limit} files."),
        "file_failed": _("{name} could not be uploaded. Check the connection and try again."),
        "file_gone": _("The text could not be fetched. Try again."),
        "files_of": _("Attached files"),
        "sources_of": _("Sources"),
        "source_open": _("Source {number}: {name}"),
        "source_page": _("page {n}"),
        "source_row": _("{sheet}, row {n}"),
        "source_line": _("line {n}"),
        "source_whole": _("whole file"),
        "characters": _("{n} characters"),
    }
