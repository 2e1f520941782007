"""Cases of what a decode does as a whole: sampling, and one token through a model in one kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

import kernels
from inference.benchmark_shapes import RandomWeights, cache_bytes, weight_bytes
from inference.config import ModelConfig
from inference.kernel_benchmarks import Case, Named, Sizes, copied, counted, normed, rotated
from inference.rope import rope_tables
from inference.types import SamplingParams

_BLOCK = 16
# Of this many rows the tokens are compared: float64 sorts them on the host.
_COMPARED = 4
_WAYS = {
    "greedy": SamplingParams(temperature=0),
    "top-k, top-p": SamplingParams(temperature=0.8, top_k=50, top_p=0.9),
}


def cases(sizes: Sizes) -> Iterator[Named]:
    for vocabulary in sizes.vocabularies:
        for rows in sizes.sampled_rows:
            for way, how in _WAYS.items():
                name = f"sample {way}, {counted(rows)} of {vocabulary}"
                yield name, partial(_sample, how, rows, vocabulary, sizes)
    for model, config in sizes.models.items():
        name = f"{model}: one token in one kernel, {sizes.decoder_context} before it"
        yield name, partial(_one_kernel, config, sizes)


def _sample(how: SamplingParams, rows: int, vocabulary: int, sizes: Sizes) -> Case:
    logits = 3 * sizes.random(rows, vocabulary, dtype=torch.float32)
    copies = copied(logits, sizes.copies(logits.nbytes))
    count = min(rows, _COMPARED)

    def table(device: str) -> tuple[kernels.SamplingTable, kernels.SampledRows]:
        table = kernels.SamplingTable(rows, vocabulary, device)
        for seat in range(rows):
            table.join(seat, how, seed=seat, prompt=(), output=())
        seats = torch.arange(rows, dtype=torch.int32, device=device)
        return table, kernels.SampledRows(seats, torch.full_like(seats, 7))

    ours, sampled_rows = table(sizes.device)

    def sampled(logits: torch.Tensor) -> torch.Tensor:
        kernels.sample(logits, ours, sampled_rows)
        return ours.sampled[:count]

    def exact() -> torch.Tensor:
        host, all_rows = table("cpu")
        first = kernels.SampledRows(all_rows.seats[:count], all_rows.context_lens[:count])
        kernels.sample(logits[:count].cpu(), host, first)
        return host.sampled[:count].double().to(sizes.device)

    by_torch = _greedy if how.temperature == 0 else partial(_drawn, how)
    return Case(
        ours=[partial(sampled, copy) for copy in copies],
        torchs=[partial(by_torch, copy) for copy in copies],
        exact=exact,
        torch_result=lambda: _greedy(logits[:count]) if how.temperature == 0 else exact(),
        work=logits.nbytes,
    )


def _greedy(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(-1)


def _drawn(how: SamplingParams, logits: torch.Tensor) -> torch.Tensor:
    """Without a sort of the whole row, since top-k comes first."""
    largest, ids = (logits / how.temperature).topk(how.top_k)
    weights = largest.softmax(-1)
    weights = weights.masked_fill(weights.cumsum(-1) - weights > how.top_p, 0)
    noise = torch.empty_like(weights).exponential_()
    return ids.gather(-1, (weights / noise).argmax(-1, keepdim=True))


@dataclass(frozen=True, slots=True)
class _Token:
    """One token of one sequence, and where its context lies."""

    token: torch.Tensor
    position: torch.Tensor
    blocks: torch.Tensor
    context: int


def _one_kernel(config: ModelConfig, sizes: Sizes) -> Case:
    model = _decoder(config, sizes)
    decoder = kernels.gpu_token_decoder(model)
    if decoder is None:
        raise ValueError("the kernel does not run this model on this GPU")
    integer = partial(torch.full, (1,), device=sizes.device)
    token = _Token(
        integer(fill_value=config.vocab_size // 2, dtype=torch.int32),
        integer(fill_value=sizes.decoder_context, dtype=torch.int64),
        torch.randperm(model.caches[0].k.shape[0], device=sizes.device).int(),
        sizes.decoder_context,
    )
    return Case(
        ours=[partial(decoder.run, token.token, token.position, token.blocks)],
        torchs=[],
        exact=partial(decoded, model, token, torch.float64),
        torch_result=partial(decoded, model, token, sizes.dtype),
        work=weight_bytes(config) + cache_bytes(config, sizes.decoder_context),
    )


def _decoder(config: ModelConfig, sizes: Sizes) -> kernels.GpuDecoder:
    weights = RandomWeights(sizes.dtype, sizes.device)
    hidden, inner, width = config.hidden_size, config.intermediate_size, config.head_dim

    def matrices(outputs: int, inputs: int) -> kernels.Matrices:
        return kernels.Matrices([weights.take("", outputs, inputs)])

    def norm() -> kernels.Norm:
        return kernels.Norm(1 + 0.1 * sizes.random(hidden, dtype=torch.float32), config.norm_eps)

    layers = [
        kernels.DecoderLayer(
            attention_norm=norm(),
            qkv=matrices((config.heads + 2 * config.kv_heads) * width, hidden),
            attention_out=matrices(hidden, config.heads * width),
            mlp_norm=norm(),
            gate_up=matrices(2 * inner, hidden),
            down=matrices(hidden, inner),
        )
        for _ in range(config.layers)
    ]
    shape = (sizes.decoder_context // _BLOCK + 1, config.kv_heads, _BLOCK, width)
    caches = [
        kernels.CacheLayer(sizes.random(*shape), sizes.random(*shape)) for _ in range(config.layers)
    ]
    head = matrices(config.vocab_size, hidden)
    tied = config.tied_embeddings
    table = head.tensors[0] if tied else weights.take("", config.vocab_size, hidden)
    cos, sin = (part.to(sizes.device) for part in rope_tables(config))
    rotary = kernels.Rotary(cos, sin)
    return kernels.GpuDecoder(table, layers, caches, norm(), head, rotary)


def decoded(model: kernels.GpuDecoder, token: _Token, dtype: torch.dtype) -> torch.Tensor:
    """The same in plain torch: products and attention in dtype, the residual stream in float64 or
    fp32. Leaves the cache alone."""
    hidden = model.embedding[token.token.long()]
    hidden = hidden.double() if dtype == torch.float64 else hidden.float()
    for layer, cache in zip(model.layers, model.caches, strict=True):
        qkv = _product(normed(hidden, layer.attention_norm, dtype), layer.qkv)
        attended = _attended(qkv, model.rotary, cache, token)
        hidden = hidden + _product(attended, layer.attention_out)
        gate_up = _product(normed(hidden, layer.mlp_norm, dtype), layer.gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        hidden = hidden + _product(functional.silu(gate) * up, layer.down)
    return _product(normed(hidden, model.last_norm, dtype), model.head)


def _product(x: torch.Tensor, matrices: kernels.Matrices) -> torch.Tensor:
    return x @ matrices.tensors[0].to(x.dtype).t()


def _attended(
    qkv: torch.Tensor, rotary: kernels.Rotary, cache: kernels.CacheLayer, token: _Token
) -> torch.Tensor:
    """qkv[1, (Hq + 2·Hkv)·D] -> [1, Hq·D]"""
    heads = qkv.view(1, -1, cache.head)
    query_heads = heads.shape[1] - 2 * cache.kv_heads
    q, k, v = heads.split([query_heads, cache.kv_heads, cache.kv_heads], dim=1)
    q, k = (rotated(x, rotary, token.position, qkv.dtype) for x in (q, k))

    def whole(part: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """[Hkv, context + 1, D]"""
        before = part[token.blocks.long()].transpose(0, 1).flatten(1, 2)[:, : token.context]
        return torch.cat([before.to(new.dtype), new.transpose(0, 1)], dim=1)

    keys, values = whole(cache.k, k), whole(cache.v, v)
    grouped = q.view(cache.kv_heads, -1, cache.head)
    weights = (grouped @ keys.transpose(1, 2) * cache.head**-0.5).softmax(-1)
    attended: torch.Tensor = weights @ values
    return attended.view(1, -1)
