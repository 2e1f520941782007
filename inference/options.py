"""How an engine is set up: frozen, checked once."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.errors import InvalidParameter

DTYPES = ("auto", "float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("auto", "ours")
COMPUTE = ("fp32", "fp16")
# In place of a number: as it suits the device and its memory, found out when a model is loaded.
AUTO = 0
BEAT_S = 0.033
"""Of a site's engine: so long a reader waits for a frame, thirty of them a second. What an event
costs on its way to a reader is the same for one token as for ten."""


def all_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """device: "auto" takes an NVIDIA GPU where it can be used. dtype: the precision weights are
    kept in, "auto" as stored. backend: whose products a GPU runs, "auto" what was measured to be
    faster, "ours" never a library's. compute: what products on a GPU are summed in; fp16 needs
    fp16 weights. deterministic: a request's tokens do not depend on who else is served, nor on how
    its prompt is cut. threads: for computing.
    kv_tokens: the most tokens in the KV cache (on the CPU memory is taken as it is used), or AUTO.
    context_tokens: the most that a sequence may have; 0: the model's own limit, beyond which YaRN
    goes. max_batch: the most sequences that run at once, or AUTO. step_tokens: the most tokens of
    one step. queue_limit: the most requests that wait. memory_bytes: what the weights and caches of
    all models may take together, AUTO a share of the machine's or the GPU's memory. keep_alive_s:
    seconds after which a model that nobody asks for is unloaded, 0 for never. reuse: whether a text
    that was computed before, and is still in the cache, is taken from there. kv_folder: where the
    cache of sessions is kept between starts, None for nowhere; kv_disk_mb: the most megabytes of
    it; kv_idle_s: how many seconds a session rests before it is saved; kv_keys: what its files are
    encrypted with (`inference.sealed_file.Keys`), none for plain ones. beat_s: answers are told of
    in beats, so many seconds apart as far as steps allow: what one said meanwhile is one event,
    after its first; 0: every token at once. tuning_file: where measured choices are kept, None for
    defaults. sampler: a plugin that draws tokens in place of our own, on the CPU; plugins:
    architectures that may be loaded (`inference.plugins`)."""

    device: str = "auto"
    dtype: str = "auto"
    backend: str = "auto"
    compute: str = "fp32"
    deterministic: bool = False
    threads: int = field(default_factory=all_cores)
    kv_tokens: int = 16384
    context_tokens: int = 0
    max_batch: int = 32
    step_tokens: int = 512
    queue_limit: int = 256
    memory_bytes: int = AUTO
    keep_alive_s: float = 0
    reuse: bool = True
    kv_folder: Path | None = None
    kv_disk_mb: int = 2048
    kv_idle_s: float = 30
    kv_keys: tuple[str, ...] = field(default=(), repr=False)
    beat_s: float = 0
    tuning_file: Path | None = None
    sampler: str = ""
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        words = {"device": DEVICES, "dtype": DTYPES, "backend": BACKENDS, "compute": COMPUTE}
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise InvalidParameter(name, getattr(self, name), "one of " + ", ".join(allowed))
        cannot_be_half = self.device == "cpu" or self.dtype in ("float32", "bfloat16")
        if self.compute == "fp16" and cannot_be_half:
            only = "fp32, except for float16 weights on a GPU"
            raise InvalidParameter("compute", self.compute, only)
        if self.sampler and self.device == "cuda":
            raise InvalidParameter("sampler", self.sampler, "none where a GPU computes")
        for name in ("threads", "queue_limit"):
            if getattr(self, name) < 1:
                raise InvalidParameter(name, getattr(self, name), "at least 1")
        if self.context_tokens < 0:
            own = "0 for the model's own limit, or at least 1"
            raise InvalidParameter("context_tokens", self.context_tokens, own)
        for name in ("kv_disk_mb", "kv_idle_s", "beat_s"):
            if getattr(self, name) < 0:
                raise InvalidParameter(name, getattr(self, name), "at least 0")
        for name in ("kv_tokens", "max_batch", "memory_bytes"):
            if getattr(self, name) < 0:
                raise InvalidParameter(name, getattr(self, name), f"at least 1, or {AUTO} for auto")
        if not 0 <= self.keep_alive_s < math.inf:
            only = "seconds, or 0 for never unloading"
            raise InvalidParameter("keep_alive_s", self.keep_alive_s, only)
        if self.step_tokens <= self.max_batch:
            raise InvalidParameter("step_tokens", self.step_tokens, f"above {self.max_batch}")


def site_options(settings: Any, device: str) -> EngineOptions:
    """As a site's settings, Django's, ask for; device: what was chosen to compute. Raises
    InvalidParameter."""
    return EngineOptions(
        device=device,
        dtype=settings.TINYLLM_DTYPE,
        backend=settings.TINYLLM_BACKEND,
        compute=settings.TINYLLM_COMPUTE,
        deterministic=settings.TINYLLM_DETERMINISTIC,
        threads=settings.TINYLLM_THREADS,
        kv_tokens=settings.TINYLLM_KV_TOKENS or AUTO,
        context_tokens=settings.TINYLLM_CONTEXT_TOKENS,
        max_batch=settings.TINYLLM_MAX_BATCH or AUTO,
        memory_bytes=round((settings.TINYLLM_MEMORY_GB or AUTO) * 1e9),
        keep_alive_s=settings.TINYLLM_KEEP_ALIVE_S,
        kv_folder=settings.TINYLLM_DATA_DIR / "kv",
        kv_disk_mb=settings.TINYLLM_KV_DISK_MB,
        kv_idle_s=settings.TINYLLM_KV_IDLE_S,
        kv_keys=settings.TINYLLM_ENCRYPTION_KEYS,
        beat_s=BEAT_S,
        tuning_file=settings.TINYLLM_DATA_DIR / "product_rows.json",
        sampler=settings.TINYLLM_SAMPLER,
        plugins=tuple(settings.TINYLLM_PLUGINS),
    )
