"""For `TINYLLM_ENGINE_FACTORY` of a server in another process: each answer is one word, and another
one when a file called `go` has come to be in the data folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from inference.types import GenerateRequest
from tests.fake_engine import FakeEngine, Step

LOOK_S = 0.02


class _Gate(asyncio.Event):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    async def wait(self) -> bool:  # type: ignore[override]
        while not self._file.exists():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return True


def build() -> FakeEngine:
    from django.conf import settings

    def script(request: GenerateRequest) -> Iterator[Step]:
        yield from ("first ", _Gate(settings.TINYLLM_DATA_DIR / "go"), "last")

    return FakeEngine(script)
