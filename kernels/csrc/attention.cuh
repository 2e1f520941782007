// What the attention kernels share: the cache's layout, how a block of it comes to shared memory,
// and numbers that stand for what is not there.
#pragma once
#include "common.cuh"

#define CACHE_BLOCK 16
// Of a row in shared memory; the 16 bytes more put eight rows into different banks.
#define STRIDE (HEAD + 8)
// A maximum below all scores, and the score of what is not there, whose weight is then zero.
#define LOWEST -1e30f
#define MISSING -2e30f

#if DTYPE != F32
// One warp copies a head's rows of a cache block, with zeros for those from `live` on.
__device__ __forceinline__ void stage_block(elem *to, const elem *from, int live) {
    const int row = threadIdx.x % WARP / 8, dim = threadIdx.x % 8 * VEC;
    to += row * STRIDE + dim;
    from += row * HEAD + dim;
#pragma unroll
    for (int r = 0; r < CACHE_BLOCK; r += WARP / 8)
#pragma unroll
        for (int d = 0; d < HEAD; d += 8 * VEC)
            if (d + 8 * VEC <= HEAD || d + dim < HEAD)
                cp_async_16_or_zero(to + r * STRIDE + d, from + r * HEAD + d, row + r < live);
}
#endif
