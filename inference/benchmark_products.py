"""Cases of kernels that work row by row: products with what is fused to them, norms, rotation,
gates, embedding. Products as the model calls them, beside a plain product of torch's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional

import kernels
from inference.config import ModelConfig
from inference.kernel_benchmarks import Case, Named, Sizes, copied, counted, normed, rotated
from inference.rope import rope_tables

_BLOCK = 16
_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class _Product:
    """weight [outputs, inputs], and what stands around it in a decode."""

    name: str
    outputs: int
    inputs: int
    norm: bool = False
    residual: bool = False
    gated: bool = False
    wide: bool = False


def cases(sizes: Sizes) -> Iterator[Named]:
    for model, config in sizes.models.items():
        for rows in sizes.decode_rows:
            name = f"{model}, {counted(rows)}:"
            yield f"{name} norm, qkv, rope, append", partial(_qkv, config, rows, sizes)
            for product in _products(config):
                around = ["norm"] * product.norm + [product.name]
                around += ["gate"] * product.gated + ["add"] * product.residual
                build = partial(_product, product, rows, kernels.Products(), sizes)
                yield f"{name} {', '.join(around)}", build
    for model, config in sizes.models.items():
        yield from _prompt_cases(model, config, sizes)
    yield from _small_cases(sizes)


def _prompt_cases(model: str, config: ModelConfig, sizes: Sizes) -> Iterator[Named]:
    """Each product twice: by our kernels alone, and by what is taken otherwise."""
    rows, qkv = sizes.prompt_rows, (config.heads + 2 * config.kv_heads) * config.head_dim
    products = [_Product("qkv", qkv, config.hidden_size), *_products(config)[:-1]]
    for product in products:
        plain = _Product(
            *(product.name, product.outputs, product.inputs),
            residual=product.residual,
            gated=product.gated,
        )
        for backend in ("ours", "auto"):
            name = f"{model}, {counted(rows)}: {product.name} ({backend})"
            chosen = kernels.Products(backend=backend)
            yield name, partial(_product, plain, rows, chosen, sizes)


def _products(config: ModelConfig) -> list[_Product]:
    hidden, inner = config.hidden_size, config.intermediate_size
    return [
        _Product("o", hidden, config.heads * config.head_dim, residual=True),
        _Product("gate+up", 2 * inner, hidden, norm=True, gated=True),
        _Product("down", hidden, inner, residual=True),
        _Product("head", config.vocab_size, hidden, norm=True, wide=True),
    ]


def _product(product: _Product, rows: int, chosen: kernels.Products, sizes: Sizes) -> Case:
    outputs, inputs = product.outputs, product.inputs
    matrices = _matrices(outputs, inputs, sizes)
    x = sizes.random(rows, inputs, dtype=torch.float32)
    norm = _norm(inputs, sizes) if product.norm else None
    narrow = x.to(sizes.dtype)
    given = narrow if norm is None else x
    residual = torch.zeros(rows, outputs, device=sizes.device) if product.residual else None
    around = {"residual": residual, "norm": norm, "gated": product.gated, "wide": product.wide}
    weight = matrices[0].tensors[0]

    def plain(dtype: torch.dtype) -> torch.Tensor:
        inputs = given.to(dtype) if norm is None else normed(given, norm, dtype)
        out = inputs @ weight.to(dtype).t()
        if product.gated:
            gate, up = out.chunk(2, dim=-1)
            out = functional.silu(gate) * up
        return out

    many = rows > 64  # bound by arithmetic
    work = 2 * rows * outputs * inputs if many else weight.nbytes + given.nbytes
    return Case(
        ours=[partial(kernels.matmul_transb, given, m, **around) for m in matrices],  # type: ignore[arg-type]
        torchs=[partial(torch.mm, narrow, m.tensors[0].t()) for m in matrices],
        exact=partial(plain, torch.float64),
        torch_result=partial(plain, sizes.dtype),
        work=work,
        is_products=many,
        products=chosen,
    )


def _qkv(config: ModelConfig, rows: int, sizes: Sizes) -> Case:
    """As a decode begins: from the residual stream to queries, keys and values."""
    heads, kv_heads, head = config.heads, config.kv_heads, config.head_dim
    matrices = _matrices((heads + 2 * kv_heads) * head, config.hidden_size, sizes)
    x = sizes.random(rows, config.hidden_size, dtype=torch.float32)
    norm, rotary = _norm(config.hidden_size, sizes), _rotary(config, sizes)
    positions = torch.randint(config.context_length, (rows,), device=sizes.device)
    slots = torch.arange(rows, device=sizes.device)
    cache = _cache(rows, kv_heads, head, sizes)
    where = (norm, rotary, positions, cache, slots)
    weight = matrices[0].tensors[0]

    def plain(dtype: torch.dtype) -> torch.Tensor:
        qkv = normed(x, norm, dtype) @ weight.to(dtype).t()
        return rotated(qkv.view(rows, -1, head)[:, :heads], rotary, positions, dtype)

    narrow = x.to(sizes.dtype)
    return Case(
        ours=[partial(kernels.qkv_rope_append, x, m, *where) for m in matrices],
        torchs=[partial(torch.mm, narrow, m.tensors[0].t()) for m in matrices],
        exact=partial(plain, torch.float64),
        torch_result=partial(plain, sizes.dtype),
        work=weight.nbytes + x.nbytes + rows * weight.shape[0] * weight.itemsize,
    )


def _small_cases(sizes: Sizes) -> Iterator[Named]:
    """At the sizes of the largest model."""
    model, config = list(sizes.models.items())[-1]
    builders = {"rms_norm": _rms_norm, "rope_append": _rope, "silu_mul": _silu}
    builders["embedding"] = _embedding
    for rows in (1, sizes.prompt_rows):
        for name, build in builders.items():
            yield f"{model}, {counted(rows)}: {name}", partial(build, config, rows, sizes)


def _rms_norm(config: ModelConfig, rows: int, sizes: Sizes) -> Case:
    norm = _norm(config.hidden_size, sizes)
    x = sizes.random(rows, config.hidden_size, dtype=torch.float32)
    work = x.numel() * (4 + sizes.dtype.itemsize)
    copies = copied(x, sizes.copies(work))
    size = (config.hidden_size,)
    return Case(
        ours=[partial(kernels.rms_norm, c, norm, sizes.dtype) for c in copies],
        torchs=[
            lambda c=c: functional.rms_norm(c, size, norm.weight, _EPS).to(sizes.dtype)  # type: ignore[misc]
            for c in copies
        ],
        exact=partial(normed, x, norm, torch.float64),
        work=work,
    )


def _rope(config: ModelConfig, rows: int, sizes: Sizes) -> Case:
    heads, kv_heads, head = config.heads, config.kv_heads, config.head_dim
    qkv = sizes.random(rows, (heads + 2 * kv_heads) * head)
    rotary, cache = _rotary(config, sizes), _cache(rows, kv_heads, head, sizes)
    positions = torch.randint(config.context_length, (rows,), device=sizes.device)
    where = (rotary, positions, cache, torch.arange(rows, device=sizes.device))
    work = 2 * qkv.nbytes + 4 * rows * head
    copies = copied(qkv, sizes.copies(work))

    def plain(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return rotated(x.view(rows, -1, head)[:, :heads], rotary, positions, dtype)

    return Case(
        ours=[partial(kernels.rope_append, c, *where) for c in copies],
        torchs=[partial(plain, c, sizes.dtype) for c in copies],
        exact=partial(plain, qkv, torch.float64),
        work=work,
    )


def _silu(config: ModelConfig, rows: int, sizes: Sizes) -> Case:
    gate_up = sizes.random(rows, 2 * config.intermediate_size)
    work = gate_up.nbytes * 3 // 2
    copies = copied(gate_up, sizes.copies(work))

    def plain(x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, dim=-1)
        return functional.silu(gate) * up

    return Case(
        ours=[partial(kernels.silu_mul, c) for c in copies],
        torchs=[partial(plain, c) for c in copies],
        exact=lambda: plain(gate_up.double()),
        work=work,
    )


def _embedding(config: ModelConfig, rows: int, sizes: Sizes) -> Case:
    table = sizes.random(config.vocab_size, config.hidden_size)
    work = rows * config.hidden_size * (4 + table.itemsize)
    ids = [
        torch.randint(config.vocab_size, (rows,), device=sizes.device)
        for _ in range(sizes.copies(work))
    ]
    return Case(
        ours=[partial(kernels.embedding, table, i) for i in ids],
        torchs=[lambda i=i: table[i].float() for i in ids],  # type: ignore[misc]
        exact=lambda: table[ids[0]].double(),
        work=work,
    )


def _matrices(outputs: int, inputs: int, sizes: Sizes) -> list[kernels.Matrices]:
    weight = sizes.random(outputs, inputs).mul_(inputs**-0.5)
    copies = copied(weight, sizes.copies(weight.nbytes))
    return [kernels.Matrices([copy]) for copy in copies]


def _norm(size: int, sizes: Sizes) -> kernels.Norm:
    return kernels.Norm(1 + 0.1 * sizes.random(size, dtype=torch.float32), _EPS)


def _rotary(config: ModelConfig, sizes: Sizes) -> kernels.Rotary:
    cos, sin = rope_tables(config)
    return kernels.Rotary(cos.to(sizes.device), sin.to(sizes.device))


def _cache(tokens: int, kv_heads: int, head: int, sizes: Sizes) -> kernels.CacheLayer:
    shape = (-(-tokens // _BLOCK), kv_heads, _BLOCK, head)
    return kernels.CacheLayer(sizes.random(*shape), sizes.random(*shape))
