"""How much memory all models may take together, and how a model's cache is sized within it."""

from __future__ import annotations

import os
from dataclasses import replace
from math import ceil
from pathlib import Path

from inference.device_memory import FEWEST_TOKENS, MemoryNeed, memory_need, what_fits
from inference.errors import MemoryBudgetTooSmall
from inference.kv_cache import BLOCK_SIZE
from inference.options import AUTO, EngineOptions

# The rest of a GPU is for what is not counted (its context, what an allocator cannot hand out), the
# rest of the RAM for the site and for other programs. Mapped weights can be given up by the system.
GPU_SHARE, RAM_SHARE = 0.9, 0.8
# A GPU reads a prompt in long pieces: each costs as much as its products take to start.
GPU_STEP_TOKENS = 4096
GPU_SEATS, CPU_SEATS = 256, 32
CPU_TOKENS = 16384
# More are no use to 256 conversations of 2,048 tokens each, and others want memory too.
GPU_TOKENS = 256 * 2048
# A model may fill so much of the budget with its cache that another one of its kind fits beside it.
_FAIR = 2

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def budget_of(options: EngineOptions, gpu_bytes: int | None = None) -> int:
    """Bytes for the weights and caches of all models. gpu_bytes: all of a GPU's memory, None where
    the CPU computes."""
    if options.memory_bytes != AUTO:
        return options.memory_bytes
    return int(ram_bytes() * RAM_SHARE if gpu_bytes is None else gpu_bytes * GPU_SHARE)


def ram_bytes() -> int:
    """What this machine has, or what its container may take."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(text) for text in map(_read, _CGROUP_LIMITS) if text.isdecimal()]
    return min(machine, *limits) if limits else machine


def suited(
    directory: Path, options: EngineOptions, *, on_gpu: bool, budget: int
) -> tuple[EngineOptions, MemoryNeed]:
    """The options as they suit the device and a model: with a number wherever they say AUTO; and
    the memory that the model takes with them. Raises ModelUnavailable, ModelInvalid."""
    seats = options.max_batch or (GPU_SEATS if on_gpu else CPU_SEATS)
    step = max(options.step_tokens, GPU_STEP_TOKENS) if on_gpu else options.step_tokens
    fewest = max(CPU_TOKENS, options.context_tokens)  # one conversation has to fit
    tokens = options.kv_tokens or fewest
    suiting = replace(options, max_batch=seats, step_tokens=step, kv_tokens=tokens)
    need = memory_need(directory, suiting, on_gpu=on_gpu)
    if options.kv_tokens == AUTO:
        need = replace(need, tokens=_cache_tokens(need, budget, fewest, on_gpu=on_gpu))
    return replace(suiting, kv_tokens=need.tokens), need


def _cache_tokens(need: MemoryNeed, budget: int, fewest: int, *, on_gpu: bool) -> int:
    """On the CPU `fewest`, as far as they fit. On a GPU what a fair share of the budget holds, up
    to GPU_TOKENS; a model that is too large for a fair share gets what the CPU would give it."""
    fixed = need.total - need.cache
    tokens = min((budget - fixed) // need.token, fewest)
    if on_gpu:
        tokens = max(tokens, min((budget // _FAIR - fixed) // need.token, GPU_TOKENS))
    if tokens < FEWEST_TOKENS:
        return need.tokens  # it does not fit, and is refused with these numbers
    return tokens // BLOCK_SIZE * BLOCK_SIZE


def check_budget(need: MemoryNeed, budget: int) -> None:
    """Raises MemoryBudgetTooSmall where a model does not fit although it is alone."""
    if need.total <= budget:
        return
    enough = f"TINYLLM_MEMORY_GB={ceil(need.total / 1e8) / 10}"
    smaller = what_fits(need, budget)
    raise MemoryBudgetTooSmall(
        needed=need.total,
        budget=budget,
        weights=need.weights,
        cache=need.cache,
        tokens=need.tokens,
        would_fit=f"{smaller} or {enough}" if smaller else enough,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
