"""out[M, N] = x[M, K] · w[N, K]ᵀ (+ residual), weights in 16 bits, sums in fp32.

w is a tuple of matrices that share x; their rows follow one another in out. One pass reads every
weight once: 2·N·K bytes, which is all that counts while M is small. Four rows of w are taken
together, so that four streams of memory are in flight and each x is used four times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from kernels.cpu.jit import jit, widen

ROWS = 4


@njit  # type: ignore[untyped-decorator]
def _locate(w: Any, block: Any) -> Any:
    """Which matrix holds the block-th group of rows, its first row there and in out."""
    which = 0
    first = 0
    while block >= (w[which].shape[0] + ROWS - 1) // ROWS:
        block -= (w[which].shape[0] + ROWS - 1) // ROWS
        first += w[which].shape[0]
        which += 1
    return which, block * ROWS, first


@njit  # type: ignore[untyped-decorator]
def _blocks(w: Any) -> Any:
    total = 0
    for matrix in w:
        total += (matrix.shape[0] + ROWS - 1) // ROWS
    return total


@jit(parallel=True)
def matvec(x: Any, w: Any, residual: Any, out: Any) -> None:
    """x[K], w tuple of [N, K], residual[N] or empty, out[N]."""
    for block in prange(_blocks(w)):
        which, row, first = _locate(w, np.int64(block))
        matrix = w[which]
        # the last group of a matrix may be short: its missing rows repeat the last one
        last = matrix.shape[0] - 1
        w0 = matrix[row]
        w1 = matrix[min(row + 1, last)]
        w2 = matrix[min(row + 2, last)]
        w3 = matrix[min(row + 3, last)]
        a0 = np.float32(0)
        a1 = np.float32(0)
        a2 = np.float32(0)
        a3 = np.float32(0)
        for k in range(x.shape[0]):
            v = x[k]
            a0 += v * widen(w0[k])
            a1 += v * widen(w1[k])
            a2 += v * widen(w2[k])
            a3 += v * widen(w3[k])
        sums = (a0, a1, a2, a3)
        for i in range(min(ROWS, last + 1 - row)):
            n = first + row + i
            out[n] = sums[i] + residual[n] if residual.size else sums[i]


@jit(parallel=True)
def matmul(x: Any, w: Any, residual: Any, out: Any) -> None:
    """x[M, K] with M a multiple of 4, w tuple of [N, K], residual[M, N] or empty, out[M, N].

    A group of four rows of w is widened once into the first cache level, then meets the rows of
    x four at a time: sixteen sums stay in registers.
    """
    m_rows, k_size = x.shape
    for block in prange(_blocks(w)):
        which, row, first = _locate(w, np.int64(block))
        matrix = w[which]
        last = matrix.shape[0] - 1
        wide = np.empty((ROWS, k_size), np.float32)
        for i in range(ROWS):
            source = matrix[min(row + i, last)]
            for k in range(k_size):
                wide[i, k] = widen(source[k])
        w0 = wide[0]
        w1 = wide[1]
        w2 = wide[2]
        w3 = wide[3]
        valid = min(ROWS, last + 1 - row)
        sums = np.empty((ROWS, ROWS), np.float32)
        for m in range(0, m_rows, ROWS):
            _tile(x[m], x[m + 1], x[m + 2], x[m + 3], w0, w1, w2, w3, sums)
            for j in range(ROWS):
                for i in range(valid):
                    n = first + row + i
                    value = sums[j, i]
                    out[m + j, n] = value + residual[m + j, n] if residual.size else value


@njit(fastmath=True)  # type: ignore[untyped-decorator]
def _tile(
    x0: Any, x1: Any, x2: Any, x3: Any, w0: Any, w1: Any, w2: Any, w3: Any, sums: Any
) -> None:
    """Sixteen dot products of length K at once."""
    s00 = s01 = s02 = s03 = np.float32(0)
    s10 = s11 = s12 = s13 = np.float32(0)
    s20 = s21 = s22 = s23 = np.float32(0)
    s30 = s31 = s32 = s33 = np.float32(0)
    for k in range(x0.shape[0]):
        p0, p1, p2, p3 = w0[k], w1[k], w2[k], w3[k]
        q0, q1, q2, q3 = x0[k], x1[k], x2[k], x3[k]
        s00 += q0 * p0
        s01 += q0 * p1
        s02 += q0 * p2
        s03 += q0 * p3
        s10 += q1 * p0
        s11 += q1 * p1
        s12 += q1 * p2
        s13 += q1 * p3
        s20 += q2 * p0
        s21 += q2 * p1
        s22 += q2 * p2
        s23 += q2 * p3
        s30 += q3 * p0
        s31 += q3 * p1
        s32 += q3 * p2
        s33 += q3 * p3
    sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3] = s00, s01, s02, s03
    sums[1, 0], sums[1, 1], sums[1, 2], sums[1, 3] = s10, s11, s12, s13
    sums[2, 0], sums[2, 1], sums[2, 2], sums[2, 3] = s20, s21, s22, s23
    sums[3, 0], sums[3, 1], sums[3, 2], sums[3, 3] = s30, s31, s32, s33
