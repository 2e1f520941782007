"""out[M, N] = x[M, K] · w[N, K]ᵀ (+ residual), weights in any storage type, sums in fp32.

w is a tuple of matrices that share x; their rows follow one another in out. One pass reads every
weight once: N·K stored numbers, which is all that counts while M is small. Four rows of w are taken
together, so that each x is used four times; the next four are asked for before they are needed,
because one core alone does not ask for enough to keep the memory busy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from kernels.cpu.jit import device, jit, prefetch, widen
from kernels.cpu.rms_norm import norm_row
from kernels.cpu.silu_mul import silu_mul_row

ROWS = 4
# Rows of w that meet ROWS rows of x: their twelve sums, three weights and an x are what the sixteen
# vector registers of AVX2 hold. With four, sums go out to memory and back in the innermost loop.
GROUP = 3
# Rows of one task of a parallel loop: enough to hide what starting it costs, few enough to share;
# a multiple of ROWS and of GROUP.
TASK_ROWS = 36


@device
def _tasks(w: Any) -> Any:
    total = 0
    for matrix in w:
        total += (matrix.shape[0] + TASK_ROWS - 1) // TASK_ROWS
    return total


@device
def _locate(w: Any, task: Any) -> Any:
    """Which matrix holds the rows of a task, the first of them there, and that matrix's first
    column in out."""
    which = 0
    column = 0
    while task >= (w[which].shape[0] + TASK_ROWS - 1) // TASK_ROWS:
        task -= (w[which].shape[0] + TASK_ROWS - 1) // TASK_ROWS
        column += w[which].shape[0]
        which += 1
    return which, task * TASK_ROWS, column


@jit(parallel=True)
def matvec(x: Any, norm: Any, eps: Any, w: Any, residual: Any, gated: Any, out: Any) -> None:
    """x[K], w tuple of [N, K], out[sum of N]. norm[K] or empty: the norm of x comes first.
    residual[sum of N] or empty. gated: out[half of that] is silu(first half) · second half."""
    if norm.size:
        vector = np.empty_like(x)
        norm_row(x, norm, eps, vector)
    else:
        vector = x
    product = np.empty(2 * out.shape[0], np.float32) if gated else out
    for task in prange(_tasks(w)):
        which, first, column = _locate(w, np.int64(task))
        last = min(first + TASK_ROWS, w[which].shape[0])
        rows_times_vector(vector, w[which][first:last], residual, product, column + first)
    if gated:
        silu_mul_row(product, out)


@device
def rows_times_vector(x: Any, w: Any, residual: Any, out: Any, column: Any) -> None:
    """out[column + i] = x · w[i] for every row i of w."""
    rows = w.shape[0]
    group_bytes = ROWS * x.shape[0] * w.itemsize
    for row in range(0, rows, ROWS):
        prefetch(w, row // ROWS * group_bytes + group_bytes, group_bytes)
        # the last group may be short: its missing rows repeat the last one
        w0 = w[row]
        w1 = w[min(row + 1, rows - 1)]
        w2 = w[min(row + 2, rows - 1)]
        w3 = w[min(row + 3, rows - 1)]
        a0 = a1 = a2 = a3 = np.float32(0)
        for k in range(x.shape[0]):
            v = x[k]
            a0 += v * widen(w0[k])
            a1 += v * widen(w1[k])
            a2 += v * widen(w2[k])
            a3 += v * widen(w3[k])
        sums = (a0, a1, a2, a3)
        for i in range(min(ROWS, rows - row)):
            n = column + row + i
            out[n] = sums[i] + residual[n] if residual.size else sums[i]


@jit(parallel=True)
def matmul(x: Any, w: Any, residual: Any, out: Any) -> None:
    """x[M, K] with M a multiple of 4, w tuple of [N, K], residual[M, sum of N] or empty,
    out[M, sum of N]."""
    for task in prange(_tasks(w)):
        which, first, column = _locate(w, np.int64(task))
        last = min(first + TASK_ROWS, w[which].shape[0])
        _rows_times_matrix(x, w[which][first:last], residual, out, column + first)


@device
def _rows_times_matrix(x: Any, w: Any, residual: Any, out: Any, column: Any) -> None:
    """out[m, column + i] = x[m] · w[i]. A group of three rows of w is widened once into the first
    cache level, then meets the rows of x four at a time: twelve sums stay in registers."""
    rows, k_size = w.shape
    wide = np.empty((GROUP, k_size), np.float32)
    sums = np.empty((ROWS, GROUP), np.float32)
    group_bytes = GROUP * k_size * w.itemsize
    for row in range(0, rows, GROUP):
        prefetch(w, row // GROUP * group_bytes + group_bytes, group_bytes)
        for i in range(GROUP):
            source = w[min(row + i, rows - 1)]
            for k in range(k_size):
                wide[i, k] = widen(source[k])
        valid = min(GROUP, rows - row)
        for m in range(0, x.shape[0], ROWS):
            _tile(x[m : m + ROWS], wide, sums)
            for j in range(ROWS):
                for i in range(valid):
                    n = column + row + i
                    value = sums[j, i]
                    out[m + j, n] = value + residual[m + j, n] if residual.size else value


@device
def _tile(x: Any, w: Any, sums: Any) -> None:
    """x[4, K] · w[3, K]ᵀ: twelve dot products at once."""
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    w0, w1, w2 = w[0], w[1], w[2]
    s00 = s01 = s02 = np.float32(0)
    s10 = s11 = s12 = np.float32(0)
    s20 = s21 = s22 = np.float32(0)
    s30 = s31 = s32 = np.float32(0)
    for k in range(x0.shape[0]):
        p0, p1, p2 = w0[k], w1[k], w2[k]
        q0, q1, q2, q3 = x0[k], x1[k], x2[k], x3[k]
        s00 += q0 * p0
        s01 += q0 * p1
        s02 += q0 * p2
        s10 += q1 * p0
        s11 += q1 * p1
        s12 += q1 * p2
        s20 += q2 * p0
        s21 += q2 * p1
        s22 += q2 * p2
        s30 += q3 * p0
        s31 += q3 * p1
        s32 += q3 * p2
    sums[0, 0], sums[0, 1], sums[0, 2] = s00, s01, s02
    sums[1, 0], sums[1, 1], sums[1, 2] = s10, s11, s12
    sums[2, 0], sums[2, 1], sums[2, 2] = s20, s21, s22
    sums[3, 0], sums[3, 1], sums[3, 2] = s30, s31, s32
