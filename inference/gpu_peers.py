"""The peer that every machine can have: transformers' generate(), on a model of the same shape."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from inference.config import ModelConfig
from inference.gpu_rates import Plan

_RUNS = 3


@torch.inference_mode()
def transformers_rates(
    config: ModelConfig, plan: Plan, device: str = "cuda", dtype: torch.dtype = torch.bfloat16
) -> dict[str, Any]:
    """One reader's decode rate by the same two lengths of answers (a shorter long one where it
    would take more than plan.peer_seconds: `answers` says which), and the first token. With a
    static cache, not compiled. Raises ImportError."""
    model = _model(config, device, dtype)
    prompt = plan.depths[0]
    _seconds(model, prompt, plan.short)
    once = _seconds(model, prompt, plan.short)
    long = _affordable(plan, once)
    differences = [
        _seconds(model, prompt, long) - _seconds(model, prompt, plan.short) for _ in range(_RUNS)
    ]
    rates = [(long - plan.short) / seconds for seconds in differences]
    tokens = plan.first[0]
    _seconds(model, tokens, 1)
    return {
        "settings": "generate, static cache, not compiled",
        "tokens": prompt,
        "answers": [plan.short, long],
        "runs": _RUNS,
        "value": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "first_token": {
            "tokens": tokens,
            "ms": 1e3 * statistics.median(_seconds(model, tokens, 1) for _ in range(_RUNS)),
        },
    }


def _affordable(plan: Plan, short_s: float) -> int:
    """The long answer's length, given what the short one took."""
    tokens = plan.peer_seconds / _RUNS / (short_s / plan.short) - plan.short
    return max(2 * plan.short, min(plan.long, int(tokens)))


def _model(config: ModelConfig, device: str, dtype: torch.dtype) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        tie_word_embeddings=config.tied_embeddings,
    )
    with _default_dtype(dtype), torch.device(device):
        model: Any = LlamaForCausalLM(settings).eval()
    model.generation_config.eos_token_id = None  # answers never end by themselves
    return model


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _seconds(model: Any, prompt: int, output: int) -> float:
    ids = torch.randint(100, 200, (1, prompt), device=model.device)
    start = time.perf_counter()
    answer = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=output,
        do_sample=False,
        pad_token_id=0,
        cache_implementation="static",
        disable_compile=True,
    )
    length = len(answer[0].tolist())  # on the host
    if length != prompt + output:
        raise ValueError(f"generate gave {length - prompt} tokens, expected {output}")
    return time.perf_counter() - start
