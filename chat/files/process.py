"""Reads a file in a process of its own, which is killed when it takes too long."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from chat.files.errors import FileRefused
from chat.reading.result import Place, Reading

AT_ONCE = 2
"""Files that are read at the same time; others wait."""
_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = [sys.executable, "-B", "-E", "-s", "-m", "chat.reading"]
# Nothing of ours: no keys, no addresses. A library that starts threads of its own starts none.
_ENVIRONMENT = {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

_log = structlog.get_logger(__name__)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="chat-files")


async def read_apart(name: str, data: bytes) -> Reading:
    """Raises FileRefused."""
    told = await asyncio.get_running_loop().run_in_executor(_pool(), _ask, name, data)
    if code := told.get("refused"):
        raise FileRefused(code, name, **told["fields"])
    reading = told["reading"]
    places = [Place(**place) for place in reading.pop("places")]
    return Reading(**reading, places=places)


def _ask(name: str, data: bytes) -> dict[str, Any]:
    seconds, memory = settings.TINYLLM_FILE_SECONDS, settings.TINYLLM_FILE_MEMORY_MB
    header = {
        "name": name,
        "pages": settings.TINYLLM_FILE_PAGES,
        "characters": settings.TINYLLM_FILE_CHARACTERS,
        "memory": memory * 1_000_000,
        "seconds": seconds,
    }
    try:
        ran = subprocess.run(
            _COMMAND,
            input=json.dumps(header).encode() + b"\n" + data,
            capture_output=True,
            cwd=_ROOT,
            env=_ENVIRONMENT,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"refused": "too_slow", "fields": {"limit": seconds}}
    if ran.returncode == -signal.SIGXCPU:  # several threads have used it up
        return {"refused": "too_slow", "fields": {"limit": seconds}}
    if ran.returncode:  # a crash in a library, say
        said = ran.stderr.decode(errors="replace")[-500:]
        _log.warning("file_reader_died", returncode=ran.returncode, stderr=said)
        return {"refused": "broken", "fields": {"reason": f"exit status {ran.returncode}"}}
    told: dict[str, Any] = json.loads(ran.stdout)
    if told.get("refused") == "too_much_memory":
        told["fields"] = {"limit": memory}
    return told
