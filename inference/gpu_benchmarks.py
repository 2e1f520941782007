"""How fast one GPU runs models of three well-known shapes, with random weights, beside the limit.

Speed does not depend on what the weights are. Rates come from the whole engine, scheduler and
sampling included; every figure is the median of several runs.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine, run_to_end
from inference.errors import ModelInvalid
from inference.options import EngineOptions
from inference.types import GenerateRequest, SamplingParams

RUNS = 5
PROMPT, SHORT, LONG = 128, 32, 288
READ = 2048
DEPTHS = (128, 2048, 8192 - LONG)
_READ_BYTES = 4 << 30

# hidden, inner, heads, key/value heads, head size, vocabulary, layers, tied
_SHAPES = {
    "SmolLM2-135M": (576, 1536, 9, 3, 64, 49152, 30, True),
    "Llama-3.2-1B": (2048, 8192, 32, 8, 64, 128256, 16, True),
    "Llama-3.1-8B": (4096, 14336, 32, 8, 128, 128256, 32, False),
}


class RandomWeights:
    """See `inference.weights.TensorSource`: normal numbers, on the GPU from the beginning."""

    def __init__(self, dtype: torch.dtype, device: torch.device | str = "cuda") -> None:
        self.dtype, self._device = dtype, device

    def __contains__(self, name: str) -> bool:
        return name.endswith("embed_tokens.weight")

    def take(self, name: str, *shape: int) -> torch.Tensor:
        if len(shape) == 1:
            return torch.ones(shape, dtype=self.dtype, device=self._device)
        numbers = torch.randn(shape, dtype=self.dtype, device=self._device)
        return numbers.mul_(shape[-1] ** -0.5)

    def finish(self, *, ignore: tuple[str, ...] = ()) -> None:
        pass


class _NoText:
    """Takes the tokenizer's place in a codec: tokens only."""

    eos_ids: frozenset[int] = frozenset()

    def decode(self, _ids: Any) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Rate:
    """Median of RUNS runs with the slowest and the fastest. limit: what reading every byte once at
    the measured bandwidth allows."""

    name: str
    value: float
    slowest: float
    fastest: float
    limit: float

    @property
    def share(self) -> float:
        return self.value / self.limit


def shape_config(name: str, context_length: int = 8192 + LONG) -> ModelConfig:
    """Raises ModelInvalid for a name that is not one of the shapes."""
    if name not in _SHAPES:
        raise ModelInvalid(f"There is no shape {name!r}; known: {', '.join(_SHAPES)}.", shape=name)
    hidden, inner, heads, kv_heads, head, vocab, layers, tied = _SHAPES[name]
    raw = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
        "max_position_embeddings": context_length,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    return ModelConfig.from_dict(raw, Path(name))


def measure(name: str, dtype: torch.dtype, options: EngineOptions) -> dict[str, Any]:
    """Decode of one person's answer at several depths, and prefill, for one shape."""
    config = shape_config(name)
    runner = CudaRunner(config, RandomWeights(dtype), options)
    runner.warm_up()
    engine = Engine(runner, _NoText(), options)  # type: ignore[arg-type]
    bandwidth = read_bandwidth()
    rates = [_decode_rate(engine, config, depth, bandwidth) for depth in DEPTHS]
    for depth in (READ,):
        _answer(engine, depth, 1)
        seconds = [_answer(engine, depth, 1) for _ in range(RUNS)]
        first = {"tokens": depth, "ms": statistics.median(seconds) * 1e3}
    return {
        "model": name,
        "dtype": str(dtype).removeprefix("torch."),
        "read_tb_per_s": bandwidth / 1e12,
        "one_token_ms": runner.one_token_ms,
        "decode": [{**vars_of(rate), "share": rate.share} for rate in rates],
        "first_token": first,
    }


def vars_of(rate: Rate) -> dict[str, Any]:
    return {name: getattr(rate, name) for name in Rate.__slots__}


def read_bandwidth() -> float:
    """Bytes per second: torch's sum over more than any cache holds."""
    data = torch.ones(_READ_BYTES // 4, device="cuda")
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        data.sum()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return float(_READ_BYTES / min(times))


def machine() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "memory_gb": properties.total_memory / 1e9,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _decode_rate(engine: Engine, config: ModelConfig, depth: int, bandwidth: float) -> Rate:
    """Tokens per second between the SHORT-th and the LONG-th token of an answer."""
    _answer(engine, depth, SHORT)
    differences = [
        _answer(engine, depth, LONG) - _answer(engine, depth, SHORT) for _ in range(RUNS)
    ]
    rates = [(LONG - SHORT) / seconds for seconds in differences]
    limit = bandwidth / (weight_bytes(config) + cache_bytes(config, depth + (SHORT + LONG) // 2))
    return Rate(f"depth {depth}", statistics.median(rates), min(rates), max(rates), limit)


def weight_bytes(config: ModelConfig) -> int:
    """What one token reads of 16-bit weights: all products and the head."""
    qkv = (config.heads + 2 * config.kv_heads) * config.head_dim
    attention = config.hidden_size * (qkv + config.heads * config.head_dim)
    mlp = 3 * config.hidden_size * config.intermediate_size
    return 2 * (config.layers * (attention + mlp) + config.vocab_size * config.hidden_size)


def cache_bytes(config: ModelConfig, tokens: int) -> int:
    return 4 * config.layers * config.kv_heads * config.head_dim * tokens


def _answer(engine: Engine, prompt: int, output: int) -> float:
    """Seconds from the request to its end."""
    ids = torch.randint(100, 200, (prompt,)).tolist()
    sampling = SamplingParams(temperature=0, max_tokens=output, ignore_eos=True)
    request = GenerateRequest(f"{time.perf_counter_ns()}", "bench", tuple(ids), sampling)
    torch.cuda.synchronize()
    start = time.perf_counter()
    run_to_end(engine, [request], lambda _: None)
    return time.perf_counter() - start


def report(names: tuple[str, ...], dtype: torch.dtype, options: EngineOptions) -> dict[str, Any]:
    """The whole report, ready for JSON."""
    runs = []
    for name in names:
        runs.append(measure(name, dtype, replace(options, kv_tokens=2 * (8192 + LONG))))
        torch.cuda.empty_cache()
    return {"machine": machine(), "runs": runs}
