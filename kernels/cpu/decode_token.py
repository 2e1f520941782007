"""One token through all layers of a Llama-shaped decoder, in one kernel.

At one row a model is bound by reading its weights, and every start of a kernel is time in which
nothing is read. Here a team of threads walks through the whole model: each has its share of the
rows of every product, every thread redoes the small norms, and five meetings a layer keep them in
step. Bytes moved: every weight once, and the live keys and values.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.attention import attend
from kernels.cpu.jit import device, jit, prefetch
from kernels.cpu.matmul_transb import ROWS, rows_times_vector
from kernels.cpu.rms_norm import norm_row
from kernels.cpu.rope_append import rotate, store
from kernels.cpu.silu_mul import silu_mul_row
from kernels.cpu.team import meet

# Columns of the table of addresses, one row a layer.
ATTENTION_NORM, Q, K, V, ATTENTION_OUT, MLP_NORM, GATE, UP, DOWN, K_CACHE, V_CACHE = range(11)
COLUMNS = 11
# Bytes of the next product that a thread asks for before it waits.
AHEAD = 32_768


@intrinsic
def _pointer(_typing: Any, _address: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@device
def _matrix(address: Any, rows: Any, columns: Any, like: Any) -> Any:
    return numba.carray(_pointer(address), (rows, columns), dtype=like.dtype)


@device
def _vector(address: Any, size: Any) -> Any:
    return numba.carray(_pointer(address), size, dtype=np.float32)


@device
def _share(rows: Any, team: Any) -> Any:
    """The rows [first, last) of a member: groups of ROWS, as even as they go."""
    member, size, _ = team
    groups = (rows + ROWS - 1) // ROWS
    first = groups * member // size * ROWS
    last = min(groups * (member + 1) // size * ROWS, rows)
    return first, last


@device
def _product(x: Any, w: Any, team: Any, residual: Any, out: Any) -> None:
    """A member's share of out[n] = x · w[n] (+ residual[n])."""
    first, last = _share(w.shape[0], team)
    if first < last:
        rows_times_vector(x, w[first:last], residual, out, first)


@device
def _ask_for(w: Any, team: Any) -> None:
    """Have the beginning of a member's share on its way while it waits for the others."""
    first, _ = _share(w.shape[0], team)
    prefetch(w, first * w.shape[1] * w.itemsize, AHEAD)


@device
def _attend(
    at: Any, shape: Any, qkv: Any, cos: Any, sin: Any, context: Any, team: Any, like: Any, out: Any
) -> None:
    """Rope, cache append and attention for a member's query heads: qkv -> out[Hq, D]. Members
    that share a key/value head all write its (same) new entry, so that none waits for another."""
    _, _, heads, kv_heads, head, blocks, block_size = shape
    table, length = context
    member, size, _ = team
    first, last = heads * member // size, heads * (member + 1) // size
    if first == last:
        return
    cache = (blocks, kv_heads, block_size, head)
    k = numba.carray(_pointer(at[K_CACHE]), cache, dtype=like.dtype)
    v = numba.carray(_pointer(at[V_CACHE]), cache, dtype=like.dtype)
    group = heads // kv_heads
    block, offset = table[(length - 1) // block_size], (length - 1) % block_size
    q = np.empty((last - first, head), np.float32)
    for h in range(first, last):
        rotate(qkv[h * head : (h + 1) * head], cos, sin, q[h - first])
    for h in range(first // group, (last - 1) // group + 1):
        key = (heads + h) * head
        rotate(qkv[key : key + head], cos, sin, k[block, h, offset])
        value = key + kv_heads * head
        store(qkv[value : value + head], v[block, h, offset])
        low, high = max(first, h * group), min(last, (h + 1) * group)
        attend(q[low - first : high - first], k, v, table, length, h, out[low:high])


@device
def _attention_half(
    at: Any, shape: Any, eps: Any, cos: Any, sin: Any, context: Any, team: Any, like: Any, rows: Any
) -> None:
    """hidden += attention(norm(hidden)), three meetings."""
    h_size, _, heads, kv_heads, d_size, _, _ = shape
    hidden, normed, scratch, nothing = rows
    q_size, kv_size = heads * d_size, kv_heads * d_size
    qkv, rest = scratch[: q_size + 2 * kv_size], scratch[q_size + 2 * kv_size :]
    attended = rest[:q_size]
    norm_row(hidden, _vector(at[ATTENTION_NORM], h_size), eps, normed)
    _product(normed, _matrix(at[Q], q_size, h_size, like), team, nothing, qkv)
    _product(normed, _matrix(at[K], kv_size, h_size, like), team, nothing, qkv[q_size:])
    _product(normed, _matrix(at[V], kv_size, h_size, like), team, nothing, qkv[q_size + kv_size :])
    out = _matrix(at[ATTENTION_OUT], h_size, q_size, like)
    _ask_for(out, team)
    meet(team)
    by_head = attended.reshape((heads, d_size))
    _attend(at, shape, qkv, cos, sin, context, team, like, by_head)
    meet(team)
    _product(attended, out, team, hidden, hidden)
    _ask_for(_matrix(at[GATE], shape[1], h_size, like), team)
    meet(team)


@device
def _mlp_half(at: Any, shape: Any, eps: Any, team: Any, like: Any, rows: Any) -> None:
    """hidden += down(silu(gate) · up), two meetings. Gate and up are shared out alike, so that
    each member multiplies its own."""
    h_size, i_size = shape[0], shape[1]
    hidden, normed, scratch, nothing = rows
    gated = scratch[scratch.shape[0] - i_size :]
    norm_row(hidden, _vector(at[MLP_NORM], h_size), eps, normed)
    first, last = _share(i_size, team)
    own = last - first
    if own:
        pair = np.empty(2 * own, np.float32)
        gate, up = (_matrix(at[GATE], i_size, h_size, like), _matrix(at[UP], i_size, h_size, like))
        rows_times_vector(normed, gate[first:last], nothing, pair, 0)
        rows_times_vector(normed, up[first:last], nothing, pair, own)
        silu_mul_row(pair, gated[first:last])
    down = _matrix(at[DOWN], h_size, i_size, like)
    _ask_for(down, team)
    meet(team)
    _product(gated, down, team, hidden, hidden)
    meet(team)


@jit()
def decode_token(
    team: Any,
    layers: Any,
    shape: Any,
    eps: Any,
    last_norm: Any,
    head: Any,
    cos: Any,
    sin: Any,
    table: Any,
    length: Any,
    hidden: Any,
    scratch: Any,
    logits: Any,
) -> None:
    """team (member, size, barrier); layers int64[L, COLUMNS] addresses; shape (H, I, Hq, Hkv, D,
    cache blocks, block size); head[V, H]; cos and sin[D/2]; table int32[blocks]; length of the
    context with this token; hidden[H] is the token's embedding and is used up; scratch
    fp32[(Hq + 2·Hkv)·D + Hq·D + I]; logits[V]."""
    nothing = np.empty(0, np.float32)
    rows = (hidden, np.empty_like(hidden), scratch, nothing)
    for index in range(layers.shape[0]):
        at = layers[index]
        _attention_half(at, shape, eps, cos, sin, (table, length), team, head, rows)
        _mlp_half(at, shape, eps, team, head, rows)
    norm_row(hidden, last_norm, eps, rows[1])
    _product(rows[1], head, team, nothing, logits)
    meet(team)
