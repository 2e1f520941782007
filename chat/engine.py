"""The site's hold on the engine: `serve` installs a client, everything else asks for it here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

from chat.monitoring.requests import measured
from inference.client import EngineClient, PromptCodec
from inference.errors import EngineStopped
from inference.examination import (
    MAX_EMBEDDED,
    MAX_TRACED,
    Alternative,
    Embedded,
    Embedding,
    Inspected,
    Inspection,
    Scored,
    Scoring,
    TokenOdds,
    Trace,
    TraceRequest,
)
from inference.interpreter import serve_many
from inference.process_memory import memory_held
from inference.types import EngineEvent, GenerateRequest, ModelFingerprint, Take

if TYPE_CHECKING:
    from inference.model_store import ModelStore
    from inference.options import EngineOptions
    from inference.replay import Choice as Choice
    from inference.replay import Difference as Difference
    from inference.replay import ReplayModel
    from inference.sentence_models import SentenceModel as SentenceModel
    from inference.sentence_models import SentenceModels

__all__ = [
    "MAX_EMBEDDED",
    "MAX_TRACED",
    "Alternative",
    "Embedded",
    "Embedding",
    "EngineClient",
    "Inspected",
    "Inspection",
    "PromptCodec",
    "Scored",
    "Scoring",
    "TokenOdds",
    "Trace",
    "TraceRequest",
    "build",
    "client",
    "create",
    "fingerprint",
    "install",
    "machine",
    "memory_held",
    "replay_model",
    "sentence_models",
    "serve_many",
    "store",
    "stream",
]

log = structlog.get_logger(__name__)

_client: EngineClient | None = None


def install(new: EngineClient | None) -> None:
    """Make `new` the client of this process; None takes it away."""
    global _client
    _client = new


def client() -> EngineClient:
    """The installed client. Raises EngineStopped where none is (outside `serve`)."""
    if _client is None:
        raise EngineStopped("The engine is not running. Start the site with `manage.py serve`.")
    return _client


def stream(request: GenerateRequest, take: Take | None = None) -> AsyncGenerator[EngineEvent, None]:
    """The client's stream of events, counted for /metrics. Raises as that does."""
    return measured(request, client().stream, take)


def create() -> EngineClient:
    """The client that `TINYLLM_ENGINE_FACTORY` names, not yet started."""
    return cast(EngineClient, import_string(settings.TINYLLM_ENGINE_FACTORY)())


def build() -> EngineClient:
    """The real engine: on a GPU in a process of its own, since an error there ends the process; on
    the CPU on a thread of this one. It may load torch, so only `serve` calls this. Raises
    DeviceUnavailable, InvalidParameter."""
    options = _options()
    if options.device == "cuda":
        from inference.engine_process import EngineProcess
        from tinyllm_site.logging import configure

        logging = partial(configure, steps=settings.TINYLLM_LOG_STEPS)
        return EngineProcess(_store(), options, logging)
    from inference.engine_thread import EngineThread

    return EngineThread(_store(), options)


def replay_model(
    name: str, *, deterministic: bool, tokens: int, context_tokens: int
) -> ReplayModel:
    """A model in this thread's hands, set up as the site's engine would be, with a cache for at
    least so many tokens, and positions stretched to `context_tokens`; 0: not stretched. It loads
    torch, so only `replay` calls this. Raises ModelUnavailable and its subclasses, ModelNotFound,
    InvalidParameter."""
    from inference.replay import ReplayModel

    options, store = _options(), _store()
    room = max(options.kv_tokens, tokens)
    options = replace(
        options, deterministic=deterministic, kv_tokens=room, context_tokens=context_tokens
    )
    return ReplayModel(store.ready_directory(name), store.kind(name), options)


def sentence_models() -> SentenceModels:
    """The models on this disk that make vectors of texts and nothing else."""
    return _sentence_models(settings.TINYLLM_MODELS_DIR)


@cache
def _sentence_models(folder: Path) -> SentenceModels:
    from inference.sentence_models import SentenceModels

    return SentenceModels(folder)


def store() -> ModelStore:
    """The models on this disk, with the hub that the settings name. Raises CatalogueError."""
    from inference.management.store import store_from_settings

    return store_from_settings()


def _store() -> ModelStore:
    from inference.catalogue import Catalogue
    from inference.model_store import ModelStore

    return ModelStore(settings.TINYLLM_MODELS_DIR, Catalogue.load())


def _options() -> EngineOptions:
    """What the settings ask for, on the device that can be used."""
    from inference.backend import choose_backend
    from inference.options import site_options
    from inference.probe import probe_apart

    backend = choose_backend(probe_apart(), settings.TINYLLM_DEVICE)
    log.info("engine.backend", device=backend.name, reason=str(backend.reason))
    return site_options(settings, backend.name)


def fingerprint(codec: PromptCodec) -> dict[str, str]:
    """What a generation row remembers of the model, as JSON."""
    value: ModelFingerprint = codec.fingerprint
    return {
        "weights": value.weights,
        "tokenizer": value.tokenizer,
        "template": value.template,
        "dtype": value.dtype,
        "stretched": value.stretched,
    }


def machine() -> dict[str, Any]:
    """What the figures of a benchmark hold for. It loads torch, which the site does not need."""
    from inference.machine import machine as described

    return described()
