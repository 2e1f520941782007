"""For `TINYLLM_ENGINE_FACTORY`: a served site with a tiny random Llama, deterministic, on a thread
of the server, at a pace at which a test can interfere."""

from __future__ import annotations

import time
from typing import Any

from inference.client import EngineClient
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.runner import ModelRunner
from tests.model_files import load_catalogue
from tests.process_engine import tiny_store
from tests.tiny_llama import write_tiny_llama

STEP_S = 0.02
"""The least that a step takes: so nobody gets more than fifty tokens a second."""
OPTIONS = EngineOptions(
    device="cpu", threads=1, kv_tokens=4096, max_batch=6, step_tokens=64, deterministic=True
)


def build() -> EngineClient:
    from django.conf import settings

    run = ModelRunner.run

    def unhurried(runner: ModelRunner, chunks: Any) -> Any:
        time.sleep(STEP_S)
        return run(runner, chunks)

    ModelRunner.run = unhurried  # type: ignore[method-assign, assignment]
    return EngineThread(tiny_store(settings.TINYLLM_MODELS_DIR), OPTIONS)


def build_roomy() -> EngineClient:
    """The same model reading more, at its own pace: descriptions of tools are long in bytes."""
    from django.conf import settings

    write_tiny_llama(settings.TINYLLM_MODELS_DIR / "tiny", context=2048)
    catalogue = load_catalogue(settings.TINYLLM_MODELS_DIR)
    return EngineThread(ModelStore(settings.TINYLLM_MODELS_DIR, catalogue), OPTIONS)
