"""What each way to compute costs on a GPU, and what it does to the answers: the chat model in fp16,
by default, with our own products only, with sums in fp16, and deterministic."""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

import kernels
from inference.benchmark_shapes import SHAPES, RandomWeights, shape_config
from inference.config import ModelConfig
from inference.gpu_rates import Plan, batch_rates, decode_rates, first_tokens
from inference.gpu_timing import Limits
from inference.loading import products_of
from inference.perplexity import ForwardRunner, token_losses
from inference.weights import Weights

ROOT = Path(__file__).parents[1]
CHAT = ROOT / "models" / "chat"
MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "ours": {"backend": "ours"},
    "fp16": {"compute": "fp16"},
    "deterministic": {"deterministic": True},
}
# Of a text, read at once.
_WINDOW = 1024


def mode_rows(plan: Plan, limits: Limits) -> list[dict[str, Any]]:
    """A row for each mode: rates of one reader and of many, the first token of a prompt, and the
    perplexity of our own documents, None without the chat model."""
    plan = replace(plan, depths=plan.depths[:1], batches=(64,), first=plan.first[:1])
    return [_row(name, plan, limits) for name in MODES]


def _row(name: str, plan: Plan, limits: Limits) -> dict[str, Any]:
    from inference.cuda_runner import CudaRunner
    from inference.engine import Engine
    from inference.gpu_benchmarks import NoText

    options = replace(plan.options, dtype="float16", **MODES[name])
    kernels.use_products(products_of(options), kernels.WayTable())
    real = (CHAT / "model.safetensors").exists()
    config = ModelConfig.load(CHAT) if real else shape_config(SHAPES[0], plan.context)
    weights: Any = Weights(CHAT, torch.float16) if real else RandomWeights(torch.float16)
    runner = CudaRunner(config, weights, options)
    runner.warm_up()
    codec: Any = NoText()
    engine = Engine(runner, codec, options)
    row = {
        "mode": name,
        "one": decode_rates(engine, config, plan, limits)[0],
        "many": batch_rates(engine, config, plan, limits)[0],
        "first_token": first_tokens(engine, config, plan, limits)[0],
        "perplexity": perplexity(runner, _documents()) if real else None,
    }
    del engine, runner
    gc.collect()
    torch.cuda.empty_cache()
    return row


def perplexity(runner: ForwardRunner, ids: torch.Tensor) -> float:
    """Of ids int64[n] on the runner's device, read in windows, each from its own beginning."""
    windows = [window for window in ids.split(_WINDOW) if window.numel() > 1]
    losses = [token_losses(runner, window).double().sum().item() for window in windows]
    return math.exp(sum(losses) / sum(window.numel() - 1 for window in windows))


def _documents() -> torch.Tensor:
    """This project's documents, as the chat model's tokens."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/**/*.md"))]
    tokenizer = Tokenizer.from_file(str(CHAT / "tokenizer.json"))
    return torch.tensor(tokenizer.encode("\n\n".join(texts)).ids, device="cuda")
