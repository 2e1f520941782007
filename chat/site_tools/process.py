"""A call of a tool, run in a process of its own: it may hang, crash or fill the memory, and the
server goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from chat import filtering
from chat.errors import MessageRefused
from chat.site_tools.kinds import Ran
from chat.tracing.recorder import span

SECONDS = 10.0
CHARACTERS = 20_000
"""Of a result."""
_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-B", "-m", "chat.site_tools")
# Nothing of the server's: no keys, no addresses.
_ENVIRONMENT = {"LANG": "C.UTF-8"}

_log = structlog.get_logger(__name__)


async def run(name: str, arguments: str) -> Ran:
    """arguments: as the model wrote them. What cannot be run or read is a result that failed."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return Ran("the arguments are no JSON object", failed=True)
    with span("site tool", characters=len(arguments)):
        ran = _readable(await _ran(name, given))
    _log.info("site_tool_ran", tool=name, failed=ran.failed, characters=len(ran.text))
    return ran


async def _ran(name: str, given: dict[str, Any]) -> Ran:
    asked = {"name": name, "arguments": given, "path": sys.path, "most": CHARACTERS}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=PIPE, stdout=PIPE, cwd=_ROOT, env=_ENVIRONMENT, start_new_session=True
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate(json.dumps(asked).encode())
    except TimeoutError:
        return Ran(f"it did not end within {SECONDS:g} seconds", failed=True)
    finally:
        with suppress(ProcessLookupError):  # with whatever it has started itself
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode != 0 or not said:
        return Ran(f"it ended with exit status {process.returncode}", failed=True)
    return Ran(**json.loads(said))


def _readable(ran: Ran) -> Ran:
    """As a message may be that is kept."""
    text = ran.text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    try:
        return Ran(filtering.incoming(text), ran.failed)
    except MessageRefused:
        return Ran("this site's filters keep back what it gave", failed=True)
