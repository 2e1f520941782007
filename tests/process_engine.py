"""Started engine processes on a tiny random Llama, each a real child of the tests' process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from inference.client import EngineClient
from inference.engine_process import EngineProcess
from inference.model_store import ModelStore
from inference.options import EngineOptions
from tests.child_orders import obey
from tests.model_files import load_catalogue
from tests.tiny_llama import write_tiny_llama

OPTIONS = EngineOptions(device="cpu", threads=1, kv_tokens=2048, max_batch=4, step_tokens=64)


def tiny_store(folder: Path) -> ModelStore:
    write_tiny_llama(folder / "tiny")
    return ModelStore(folder, load_catalogue(folder))


@asynccontextmanager
async def running(
    store: ModelStore, prepare: Callable[[], None] | None = obey, **options: Any
) -> AsyncIterator[EngineProcess]:
    """A started engine. When it has stopped, its process is gone."""
    its = EngineProcess(store, replace(OPTIONS, **options), prepare)
    await its.start()
    try:
        yield its
    finally:
        pid = pid_of(its)
        await its.stop()
        assert not exists(pid)


def pid_of(client: EngineProcess) -> int:
    """Of the newest process, dead or alive."""
    assert client._child is not None
    return client._child.pid


def exists(pid: int) -> bool:
    """Also of a process that has ended and that nobody has asked about: a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def build() -> EngineClient:
    """For `TINYLLM_ENGINE_FACTORY`: a site whose models are below its TINYLLM_MODELS_DIR."""
    from django.conf import settings

    prepare = partial(obey, log=True, slow=True)
    return EngineProcess(tiny_store(settings.TINYLLM_MODELS_DIR), OPTIONS, prepare)
