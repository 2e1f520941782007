"""decode_token: one token of one sequence through a whole Llama-shaped decoder, 16-bit weights.

The composition of rms_norm, matmul_transb, rope_append, attention and silu_mul that
`inference/architectures/llama.py` writes out; here as one kernel, since at one row the time between
kernels is what is left to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kernels.attention import AttentionBatch
from kernels.cache_layer import CacheLayer
from kernels.cpu import decode_token as cpu
from kernels.cpu.team import Team, new_barrier
from kernels.matmul_transb import Matrices
from kernels.rms_norm import Norm
from kernels.threads import thread_count

_team = Team(1)


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """The parts of one layer, without biases: q, k and v in one, gate and up in one."""

    attention_norm: Norm
    qkv: Matrices
    attention_out: Matrices
    mlp_norm: Norm
    gate_up: Matrices
    down: Matrices

    @property
    def addresses(self) -> list[int]:
        """In the order of the kernel's table, caches left out."""
        q, k, v, out, gate, up, down = (
            array.ctypes.data
            for matrices in (self.qkv, self.attention_out, self.gate_up, self.down)
            for array in matrices.arrays
        )
        norms = (norm.array.ctypes.data for norm in (self.attention_norm, self.mlp_norm))
        return [next(norms), q, k, v, out, next(norms), gate, up, down]


class TokenDecoder:
    """A model made ready for the kernel. Holds what its addresses point to."""

    def __init__(
        self,
        layers: Sequence[DecoderLayer],
        caches: Sequence[CacheLayer],
        last_norm: Norm,
        head: Matrices,
    ) -> None:
        """All weights and caches in one 16-bit precision, all norms with one eps."""
        first, cache = layers[0], caches[0]
        self.caches = caches
        self._kept = (layers, last_norm, head)
        self._addresses = np.array(
            [
                [*layer.addresses, c.k_array.ctypes.data, c.v_array.ctypes.data]
                for layer, c in zip(layers, caches, strict=True)
            ],
            dtype=np.int64,
        )
        hidden, inner = first.qkv.inputs, first.down.inputs
        heads = first.attention_out.inputs // cache.head
        self._shape = (
            *(hidden, inner, heads, cache.kv_heads, cache.head),
            *(cache.k.shape[0], cache.block_size),
        )
        self._eps, self._last_norm, self._head = last_norm.eps, last_norm.array, head.arrays[0]
        self._scratch = np.empty(first.qkv.outputs + first.attention_out.inputs + inner, np.float32)

    def run(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, batch: AttentionBatch
    ) -> torch.Tensor:
        """hidden fp32[1, H] (the token's embedding, used up), cos and sin fp32[1, D/2] -> logits
        fp32[1, V]. The token's key and value are put into the cache."""
        logits = hidden.new_empty(1, self._head.shape[0])
        team, barrier = _current_team(), new_barrier()
        vectors = (cos.numpy()[0], sin.numpy()[0], batch.block_tables.numpy()[0])
        rows = (hidden.numpy()[0], self._scratch, logits.numpy()[0])
        context = int(batch.context_lens[0])
        model = (self._addresses, self._shape, self._eps, self._last_norm, self._head)

        def work(member: int) -> None:
            cpu.decode_token((member, team.size, barrier), *model, *vectors, context, *rows)

        team.run(work)
        return logits


def _current_team() -> Team:
    """As many threads as the kernels are to use; an old team is let go when that changes."""
    global _team
    if _team.size != thread_count():
        _team.dismiss()
        _team = Team(thread_count())
    return _team
