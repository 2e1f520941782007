"""The process that reads one file: `python -m chat.reading`, started by `chat.files.process`.

In: a line of JSON (name, limits, memory, seconds), then the file's bytes. Out: a line of JSON,
{"reading": …} or {"refused": code, "fields": …}. Before it sees a byte it gives up what reading
needs no right to: more memory and time, other processes, the network, and writing files.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict
from typing import Any

from chat.reading.kinds import kind_of
from chat.reading.result import Limits, Reading, Refused

_NEVER = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.kill",
    "shutil.",
    "ftplib.",
    "http.client.",
    "urllib.Request",
    "webbrowser.",
    "pty.",
)
"""Audit events of Python: whoever raises one is refused."""


class NotAllowed(Exception):
    """Code in a library tried what a reader of files has no business with."""


def confine(memory: int, seconds: int) -> None:
    """From here on. What a C library does by itself is bounded by the limits alone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for name in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(name, (0, 0))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_NEVER) or (event == "open" and _writes(arguments)):
        raise NotAllowed(event)


def _writes(arguments: tuple[Any, ...]) -> bool:
    """Of an event `open`: path, mode, flags."""
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def read(name: str, data: bytes, limits: Limits) -> Reading:
    """Raises Refused. A library is loaded where its kind of file is there."""
    kind = kind_of(name, data)
    if kind == "pdf":
        from chat.reading.pdf import read_pdf

        return read_pdf(data, limits)
    if kind == "docx":
        from chat.reading.word import read_docx

        return read_docx(data, limits)
    if kind == "xlsx":
        from chat.reading.sheets import read_xlsx

        return read_xlsx(data, limits)
    if kind == "html":
        from chat.reading.page import read_html

        return read_html(data, limits)
    from chat.reading.plain import read_plain

    return read_plain(data, kind, limits)


def answer(name: str, data: bytes, limits: Limits) -> dict[str, Any]:
    """What is written out. Raises MemoryError."""
    try:
        return {"reading": asdict(read(name, data, limits))}
    except Refused as error:
        return {"refused": error.code, "fields": error.fields}
    except MemoryError:
        raise
    except RecursionError:
        return {"refused": "broken", "fields": {"reason": "nested too deeply"}}
    except Exception as error:  # a library's bug, met by a file that was made to find it
        return {"refused": "broken", "fields": {"reason": f"{type(error).__name__}: {error}"[:200]}}


def main() -> None:
    header = json.loads(sys.stdin.buffer.readline())
    confine(header["memory"], header["seconds"])
    limits = Limits(pages=header["pages"], characters=header["characters"])
    try:
        told = answer(header["name"], sys.stdin.buffer.read(), limits)
        written = json.dumps(told).encode()
    except MemoryError:
        written = b'{"refused": "too_much_memory", "fields": {}}'
    sys.stdout.buffer.write(written)


if __name__ == "__main__":
    main()
