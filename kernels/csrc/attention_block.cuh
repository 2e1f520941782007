// What one warp does in attention_decode: HEADS query heads over one cache block of 16 positions.
#pragma once
#include "attention.cuh"

// Of each head comes out a row: HEAD sums, then twice a maximum with a total of weights, for even
// and odd levels of merging: while threads write those of a merged row, others read its sources'.
#define ROW (HEAD + 4)
#define PART (HEADS * ROW)
// Floats that a warp has in shared memory. In 16 bit its part takes the place of the values that it
// is made of, and HEADS is at most 8.
#if DTYPE == F32
#define ROOM PART
#else
#define ROOM (CACHE_BLOCK * STRIDE / 2)
#endif

// With g = lane / 4 and t = lane % 4, a lane has the scores of head g with these keys of a block.
__device__ __forceinline__ int key_of(int i) { return threadIdx.x % 4 * 2 + i % 2 + i / 2 * 8; }

// Scores become weights 2^(score - x), where found.x is the largest; found.y is their sum.
__device__ __forceinline__ float2 softmax(float (&s)[4], int live, float scale) {
    float largest = LOWEST, sum = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        s[i] = key_of(i) < live ? s[i] * scale : MISSING;
        largest = fmaxf(largest, s[i]);
    }
    largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
#pragma unroll
    for (int i = 0; i < 4; i++) sum += s[i] = exp2_fast(s[i] - largest);
    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    sum += __shfl_xor_sync(ALL_LANES, sum, 2);
    return make_float2(largest, sum);
}

// attend: one warp, `heads` query heads over the first `live` positions of a cache block. Writes
// the rows of HEADS heads into `room`; those past `heads` mean nothing.
#if DTYPE == F32
__device__ __forceinline__ void attend(float *room, const elem *q, int heads, const elem *keys,
                                       const elem *values, int live, float scale) {
    const int lane = threadIdx.x % WARP, g = lane / 4;
    float s[4] = {};
    q += min(g, heads - 1) * HEAD;
    for (int dim = 0; dim < HEAD; dim += VEC) {
        float x[VEC], y[VEC];
        widen_vec(*(const uint4 *)(q + dim), x);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            widen_vec(*(const uint4 *)(keys + min(key_of(i), live - 1) * HEAD + dim), y);
#pragma unroll
            for (int d = 0; d < VEC; d++) s[i] += x[d] * y[d];
        }
    }
    const float2 found = softmax(s, live, scale);
    if (lane % 4 == 0 && g < HEADS) *(float2 *)(room + g * ROW + HEAD) = found;
    for (int first = 0; first < HEAD; first += WARP) {
        const int dim = first + lane;
        float sums[HEADS] = {};
#pragma unroll
        for (int key = 0; key < CACHE_BLOCK; key++) {
            const float x = key < live && dim < HEAD ? values[key * HEAD + dim] : 0;
#pragma unroll
            for (int head = 0; head < HEADS; head++)
                sums[head] += x * __shfl_sync(ALL_LANES, s[key / 8 * 2 + key % 2],
                                              head * 4 + key % 8 / 2);
        }
#pragma unroll
        for (int head = 0; head < HEADS; head++)
            if (dim < HEAD) room[head * ROW + dim] = sums[head];
    }
}
#else
#define KEY_STEPS ((HEAD + 31) / 32)

__device__ __forceinline__ uint4 load_or_zero(const elem *row, int dim, bool live) {
    return live && dim < HEAD ? load_stream(row + dim) : make_uint4(0, 0, 0, 0);
}

// Keys go straight into operands: to a score the order of dimensions does not matter, so a lane
// takes eight neighbours of each 32. Values go through `room`, in rows STRIDE apart.
__device__ __forceinline__ void attend(float *room, const elem *q, int heads, const elem *keys,
                                       const elem *values, int live, float scale) {
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    uint4 query[KEY_STEPS], key[2][KEY_STEPS];
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++) {
        const int dim = 32 * step + 8 * t;
        query[step] = load_or_zero(q + min(g, heads - 1) * HEAD, dim, true);
        key[0][step] = load_or_zero(keys + g * HEAD, dim, g < live);
        key[1][step] = load_or_zero(keys + (8 + g) * HEAD, dim, 8 + g < live);
    }
    elem *const tile = (elem *)room;
    stage_block(tile, values, live);
    cp_async_commit();
    float scores[2][4] = {};
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++) {
        const uint4 x = query[step];
#pragma unroll
        for (int n = 0; n < 2; n++) {
            const uint4 y = key[n][step];
            mma(scores[n], {x.x, 0, x.y, 0}, {y.x, y.y});
            mma(scores[n], {x.z, 0, x.w, 0}, {y.z, y.w});
        }
    }
    float s[4] = {scores[0][0], scores[0][1], scores[1][0], scores[1][1]};
    const float2 found = softmax(s, live, scale);
    const u32 weights[2] = {narrow_pair(s[0], s[1]), narrow_pair(s[2], s[3])};
    float sums[HEAD / 16][4] = {};
    cp_async_wait<0>();
    __syncwarp();
    const elem *corner = tile + (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll
    for (int dim = 0; dim < HEAD; dim += 16) {
        u32 a[4];
        ldmatrix_x4_trans(a, corner + dim);
        mma(sums[dim / 16], a, weights);
    }
    __syncwarp();
    if (t == 0 && g < HEADS) *(float2 *)(room + g * ROW + HEAD) = found;
#pragma unroll
    for (int i = 0; i < HEAD / 4; i++)
        if (2 * t + i % 2 < HEADS)
            room[(2 * t + i % 2) * ROW + i / 2 * 8 + g] = sums[i / 4][i % 4];
}
#endif
