// silu_mul: out = silu(gate) · up, the middle of a SwiGLU feed-forward layer (Shazeer, 2020).
//
//   gate_up elem[T, 2 · inner]   the gates of a row, then its ups
//   out     elem[T, inner]
//
// inner: a multiple of VEC, both pointers aligned to 16 bytes.
// Grid: (T, enough blocks that every VEC numbers of a row have a thread). Block: any size.
// Bytes moved: 3 · inner · sizeof(elem) a row.
//
// compile:
#include "common.cuh"

extern "C" __global__ void silu_mul(const elem *__restrict__ gate_up, elem *__restrict__ out,
                                    int inner) {
    int column = (blockIdx.y * blockDim.x + threadIdx.x) * VEC;
    if (column >= inner) return;
    const elem *gates = gate_up + (long long)blockIdx.x * 2 * inner + column;
    float gate[VEC], up[VEC];
    widen_vec(*reinterpret_cast<const uint4 *>(gates), gate);
    widen_vec(*reinterpret_cast<const uint4 *>(gates + inner), up);
#pragma unroll
    for (int i = 0; i < VEC; i++) up[i] *= silu(gate[i]);
    *reinterpret_cast<uint4 *>(out + (long long)blockIdx.x * inner + column) = narrow_vec(up);
}
