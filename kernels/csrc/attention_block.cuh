// What one warp does in attention_decode: HEADS query heads over cache blocks of 16 positions that
// follow one another in a context.
#pragma once
#include "attention.cuh"

// Of each head comes out a row: HEAD sums, then a maximum and a total of weights.
#define ROW (HEAD + 4)
#define PART (HEADS * ROW)
// Floats that a warp has in shared memory. In 16 bit they hold the values of two blocks, and then
// the part that is made of them; HEADS is at most 8.
#if DTYPE == F32
#define ROOM PART
#else
#define ROOM (CACHE_BLOCK * STRIDE)
#endif

struct Blocks {
    const elem *k, *v;
    const int *table; // from the warp's first block on
    int kv_heads, kv_head;

    __device__ size_t offset(int block) const {
        return ((size_t)block * kv_heads + kv_head) * (CACHE_BLOCK * HEAD);
    }
};

// The largest score of a head so far, and the sum of weights 2^(score - largest).
struct Found {
    float largest, total;
};

// With g = lane / 4 and t = lane % 4, a lane has the scores of head g with these keys of a block.
__device__ __forceinline__ int key_of(int i) { return threadIdx.x % 4 * 2 + i % 2 + i / 2 * 8; }

// Scores become weights under the new largest one (online softmax, Milakov and Gimelshein, 2018).
// Returns what the sums so far shrink by.
__device__ __forceinline__ float softmax(float (&s)[4], Found &found, int live, float scale) {
    float largest = found.largest, sum = 0;
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
    const float shrink = exp2_fast(found.largest - largest);
    found = {largest, found.total * shrink + sum};
    return shrink;
}

__device__ __forceinline__ void store_found(float *room, const Found &found) {
    const int g = threadIdx.x % WARP / 4;
    if (threadIdx.x % 4 == 0 && g < HEADS)
        *(float2 *)(room + g * ROW + HEAD) = make_float2(found.largest, found.total);
}

// attend: one warp, `heads` query heads over `live` positions, at least one. Writes the rows of
// HEADS heads into `room`; those past `heads` mean nothing.
#if DTYPE == F32
#define CHUNKS ((HEAD + WARP - 1) / WARP)

__device__ __forceinline__ void attend(float *room, const elem *q, int heads, const Blocks &blocks,
                                       int live, float scale) {
    const int lane = threadIdx.x % WARP, g = lane / 4;
    float sums[CHUNKS][HEADS] = {};
    Found found = {LOWEST, 0};
    q += min(g, heads - 1) * HEAD;
    for (int i = 0; live > 0; i++, live -= CACHE_BLOCK) {
        const size_t at = blocks.offset(blocks.table[i]);
        const elem *keys = blocks.k + at, *values = blocks.v + at;
        float s[4] = {};
        for (int dim = 0; dim < HEAD; dim += VEC) {
            float x[VEC], y[VEC];
            widen_vec(*(const uint4 *)(q + dim), x);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                widen_vec(*(const uint4 *)(keys + min(key_of(j), live - 1) * HEAD + dim), y);
#pragma unroll
                for (int d = 0; d < VEC; d++) s[j] += x[d] * y[d];
            }
        }
        const float shrink = softmax(s, found, live, scale);
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            const int dim = chunk * WARP + lane;
#pragma unroll
            for (int head = 0; head < HEADS; head++)
                sums[chunk][head] *= __shfl_sync(ALL_LANES, shrink, head * 4);
#pragma unroll
            for (int key = 0; key < CACHE_BLOCK; key++) {
                const float x = key < live && dim < HEAD ? values[key * HEAD + dim] : 0;
#pragma unroll
                for (int head = 0; head < HEADS; head++)
                    sums[chunk][head] += x * __shfl_sync(ALL_LANES, s[key / 8 * 2 + key % 2],
                                                         head * 4 + key % 8 / 2);
            }
        }
    }
    store_found(room, found);
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
        for (int head = 0; head < HEADS; head++)
            if (chunk * WARP + lane < HEAD) room[head * ROW + chunk * WARP + lane] = sums[chunk][head];
}
#else
#define KEY_STEPS ((HEAD + 31) / 32)

typedef uint4 Keys[2][KEY_STEPS];

__device__ __forceinline__ uint4 load_or_zero(const elem *row, int dim, bool live) {
    return live && dim < HEAD ? load_stream(row + dim) : make_uint4(0, 0, 0, 0);
}

// Keys go straight into operands: to a score the order of dimensions does not matter, so a lane
// takes eight neighbours of each 32.
__device__ __forceinline__ void load_keys(Keys &key, const elem *keys, int live) {
    const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++) {
        key[0][step] = load_or_zero(keys + g * HEAD, 32 * step + 8 * t, g < live);
        key[1][step] = load_or_zero(keys + (8 + g) * HEAD, 32 * step + 8 * t, 8 + g < live);
    }
}

__device__ __forceinline__ void attend(float *room, const elem *q, int heads, const Blocks &blocks,
                                       int live, float scale) {
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const int count = (live + CACHE_BLOCK - 1) / CACHE_BLOCK;
    elem *const tiles = (elem *)room; // values of two blocks, in rows STRIDE apart
    uint4 query[KEY_STEPS];
    Keys key;
    int table = lane < count ? blocks.table[lane] : 0; // lane i has the i-th of each 32 entries
    size_t at = blocks.offset(__shfl_sync(ALL_LANES, table, 0));
    load_keys(key, blocks.k + at, live);
    stage_block(tiles, blocks.v + at, live);
    cp_async_commit();
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++)
        query[step] = load_or_zero(q + min(g, heads - 1) * HEAD, 32 * step + 8 * t, true);
    float sums[HEAD / 16][4] = {};
    Found found = {LOWEST, 0};
#pragma unroll 1
    for (int i = 0; i < count; i++, live -= CACHE_BLOCK) {
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
        const int next = i + 1;
        if (next < count) {
            if (next % WARP == 0) table = next + lane < count ? blocks.table[next + lane] : 0;
            at = blocks.offset(__shfl_sync(ALL_LANES, table, next % WARP));
            load_keys(key, blocks.k + at, live - CACHE_BLOCK);
            stage_block(tiles + next % 2 * (CACHE_BLOCK * STRIDE), blocks.v + at,
                        live - CACHE_BLOCK);
        }
        cp_async_commit();
        float s[4] = {scores[0][0], scores[0][1], scores[1][0], scores[1][1]};
        const float shrink = softmax(s, found, live, scale);
        const float shrinks[2] = {__shfl_sync(ALL_LANES, shrink, 8 * t),
                                  __shfl_sync(ALL_LANES, shrink, 8 * t + 4)};
        const u32 weights[2] = {narrow_pair(s[0], s[1]), narrow_pair(s[2], s[3])};
        cp_async_wait<1>();
        __syncwarp();
        const elem *corner = tiles + i % 2 * (CACHE_BLOCK * STRIDE) +
                             (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll
        for (int dim = 0; dim < HEAD; dim += 16) {
            float(&sum)[4] = sums[dim / 16];
#pragma unroll
            for (int j = 0; j < 4; j++) sum[j] *= shrinks[j % 2];
            u32 a[4];
            ldmatrix_x4_trans(a, corner + dim);
            mma(sum, a, weights);
        }
        __syncwarp();
    }
    store_found(room, found);
#pragma unroll
    for (int i = 0; i < HEAD / 4; i++)
        if (2 * t + i % 2 < HEADS)
            room[(2 * t + i % 2) * ROW + i / 2 * 8 + g] = sums[i / 4][i % 4];
}
#endif
