// attention_prefill: pieces of prompts over their paged contexts, causal, in one launch.
//
// q, out       elem[T, kv_heads * GROUP, HEAD]
// k, v         elem[blocks, kv_heads, 16, HEAD], HEAD a multiple of 16 up to 256
// tables       int[S, width], the blocks of each sequence; entries past its context are not read
// context_lens int[S]; query_starts int[S + 1]: which rows of q are a sequence's, its last tokens
// tiles        int[n, 2]: a sequence, and the first of its query tokens that the tile has, of which
//              it has up to TOKENS with GROUP rows each: the query heads that share a KV head
// scale        what scores are multiplied by, times log2(e)
// Grid: kv_heads x n. Block: WARPS warps, TOKENS * GROUP <= ROWS. Dynamic shared memory in 16 bit:
// (ROWS + 4 * KEYS) * (HEAD + 8) elems. Pointers are 16-byte aligned.
// Reads q, writes out; reads keys and values once a tile, mostly from L2. Arithmetic:
// 4 * HEAD * kv_heads * GROUP operations for each pair of a query and a key before it.
//
// Tiles of keys begin at multiples of KEYS and come in ascending order, and what a row does not see
// does not change it: a result does not depend on how a prompt was cut into pieces.
//
// Flash attention (Dao, 2023): scores and weights never leave registers.
//
// compile: HEAD=64 GROUP=3 WARPS=4 BANDS=2 KEYS=64 BLOCKS=2 TOKENS=42
// compile: HEAD=128 GROUP=4 WARPS=4 BANDS=2 KEYS=64 BLOCKS=2 TOKENS=32
// compile: HEAD=256 GROUP=8 WARPS=4 BANDS=1 KEYS=32 BLOCKS=2 TOKENS=8
#include "attention.cuh"

#define THREADS (WARPS * WARP)

struct Tile {
    const int *table;
    int row;      // of its first token, in q
    int position; // of its first token
    int tokens;
    int visible; // positions that its last token sees
};

__device__ Tile find_tile(const int *tables, const int *context_lens, const int *query_starts,
                          const int *tiles, int width) {
    const int sequence = tiles[2 * blockIdx.y], first = tiles[2 * blockIdx.y + 1];
    const int start = query_starts[sequence], count = query_starts[sequence + 1] - start;
    Tile tile;
    tile.table = tables + (size_t)sequence * width;
    tile.row = start + first;
    tile.position = context_lens[sequence] - count + first;
    tile.tokens = min(TOKENS, count - first);
    tile.visible = tile.position + tile.tokens;
    return tile;
}

// Where row `row` of the tile, a query head of a token, lies in q and out.
__device__ __forceinline__ size_t row_offset(const Tile &tile, int row) {
    const size_t kv_row = (size_t)(tile.row + row / GROUP) * gridDim.x + blockIdx.x;
    return (kv_row * GROUP + row % GROUP) * HEAD;
}

__device__ __forceinline__ size_t block_offset(const Tile &tile, int block) {
    return ((size_t)tile.table[block] * gridDim.x + blockIdx.x) * (CACHE_BLOCK * HEAD);
}

#if DTYPE == F32
// For checking: a warp for each row, a key for each lane.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_prefill(elem *out, const elem *q, const elem *k, const elem *v, const int *tables,
                      const int *context_lens, const int *query_starts, const int *tiles, int width,
                      float scale) {
    const Tile tile = find_tile(tables, context_lens, query_starts, tiles, width);
    const int lane = threadIdx.x % WARP;
    for (int row = threadIdx.x / WARP; row < tile.tokens * GROUP; row += WARPS) {
        const size_t at = row_offset(tile, row);
        const int last = tile.position + row / GROUP;
        float largest = LOWEST, total = 0, sums[(HEAD + WARP - 1) / WARP] = {};
        for (int first = 0; first <= last; first += WARP) {
            float score = 0;
            if (first + lane <= last) {
                const elem *key = k + block_offset(tile, (first + lane) / CACHE_BLOCK) +
                                  (first + lane) % CACHE_BLOCK * HEAD;
                for (int dim = 0; dim < HEAD; dim++) score += q[at + dim] * key[dim];
            }
            score = first + lane <= last ? score * scale : MISSING;
            const float peak = fmaxf(largest, warp_max(score));
            const float weight = exp2_fast(score - peak), shrink = exp2_fast(largest - peak);
            largest = peak;
            total = total * shrink + warp_sum(weight);
            for (float &sum : sums) sum *= shrink;
            for (int i = 0; i < min(WARP, last + 1 - first); i++) {
                const float w = __shfl_sync(ALL_LANES, weight, i);
                const elem *value = v + block_offset(tile, (first + i) / CACHE_BLOCK) +
                                    (first + i) % CACHE_BLOCK * HEAD;
#pragma unroll
                for (int dim = lane; dim < HEAD; dim += WARP) sums[dim / WARP] += w * value[dim];
            }
        }
#pragma unroll
        for (int dim = lane; dim < HEAD; dim += WARP) out[at + dim] = sums[dim / WARP] / total;
    }
}
#else
#define ROWS (WARPS * BANDS * 16)
#define KEY_BLOCKS (KEYS / CACHE_BLOCK)
// Steps of 16 dimensions whose operands may be loaded ahead, as far as registers last.
constexpr int STEPS_AHEAD = HEAD < 128 ? 4 : 1;

// With g = lane / 4 and t = lane % 4: BANDS of 16 rows of a warp, of which a lane has rows g and
// g + 8, in columns 2t and 2t + 1 of every eight.
typedef float Scores[BANDS][KEYS / 8][4];
typedef float Sums[BANDS][HEAD / 8][4];
typedef float PerRow[BANDS][2];

__device__ __forceinline__ void stage_queries(elem *queries, const elem *q, const Tile &tile) {
    for (int i = threadIdx.x; i < ROWS * (HEAD / VEC); i += THREADS) {
        const int row = i / (HEAD / VEC), dim = i % (HEAD / VEC) * VEC;
        const bool live = row < tile.tokens * GROUP;
        cp_async_16_or_zero(queries + row * STRIDE + dim,
                            q + row_offset(tile, live ? row : 0) + dim, live);
    }
}

// A stage holds KEYS keys, then as many values. A warp copies the same one of a tile's cache blocks
// each time, so that it can look up ahead where the next lies; where there are twice as many warps
// as blocks, it copies only the keys or only the values.
__device__ __forceinline__ int block_of(const Tile &tile, int first) {
    const int block = first / CACHE_BLOCK + threadIdx.x / WARP % KEY_BLOCKS;
    return block * CACHE_BLOCK < tile.visible ? tile.table[block] : 0;
}

__device__ __forceinline__ void stage_keys(elem *stage, const elem *k, const elem *v, int block,
                                           int live) {
    static_assert(WARPS == KEY_BLOCKS || WARPS == 2 * KEY_BLOCKS, "all have a block to copy");
    const size_t at = ((size_t)block * gridDim.x + blockIdx.x) * (CACHE_BLOCK * HEAD);
    const int warp = threadIdx.x / WARP, row = warp % KEY_BLOCKS * CACHE_BLOCK;
    if (WARPS == KEY_BLOCKS || warp < KEY_BLOCKS)
        stage_block(stage + row * STRIDE, k + at, live - row);
    if (WARPS == KEY_BLOCKS || warp >= KEY_BLOCKS)
        stage_block(stage + (KEYS + row) * STRIDE, v + at, live - row);
}

__device__ __forceinline__ void multiply_keys(Scores &s, const elem *queries, const elem *keys) {
    const int lane = threadIdx.x % WARP;
    queries += lane % 16 * STRIDE + lane / 16 * 8;
    keys += (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll STEPS_AHEAD
    for (int dim = 0; dim < HEAD; dim += 16) {
        u32 a[BANDS][4], b[4];
#pragma unroll
        for (int band = 0; band < BANDS; band++)
            ldmatrix_x4(a[band], queries + band * 16 * STRIDE + dim);
#pragma unroll
        for (int key = 0; key < KEYS; key += 16) {
            ldmatrix_x4(b, keys + key * STRIDE + dim);
#pragma unroll
            for (int band = 0; band < BANDS; band++) {
                mma(s[band][key / 8], a[band], {b[0], b[1]});
                mma(s[band][key / 8 + 1], a[band], {b[2], b[3]});
            }
        }
    }
}

__device__ __forceinline__ void mask(Scores &s, const int *positions, int first) {
    const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int band = 0; band < BANDS; band++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int seen = positions[band * 16 + half * 8 + g] - first - 2 * t;
#pragma unroll
            for (int key = 0; key < KEYS; key += 8)
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (key + e > seen) s[band][key / 8][2 * half + e] = MISSING;
        }
}

// Scores become weights 2^(scale * (score - largest)); what was summed up shrinks to the new
// largest (online softmax, Milakov and Gimelshein, 2018). `total` is of this lane's columns alone.
__device__ __forceinline__ void weigh(Scores &s, Sums &sums, PerRow &largest, PerRow &total,
                                      float scale) {
#pragma unroll
    for (int band = 0; band < BANDS; band++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float peak = largest[band][half], sum = 0;
#pragma unroll
            for (int i = 0; i < KEYS / 4; i++) peak = fmaxf(peak, s[band][i / 2][2 * half + i % 2]);
            peak = fmaxf(peak, __shfl_xor_sync(ALL_LANES, peak, 1));
            peak = fmaxf(peak, __shfl_xor_sync(ALL_LANES, peak, 2));
            const float shrink = exp2_fast((largest[band][half] - peak) * scale);
            const float base = peak * scale;
#pragma unroll
            for (int i = 0; i < KEYS / 4; i++) {
                float &x = s[band][i / 2][2 * half + i % 2];
                x = exp2_fast(x * scale - base);
                sum += x;
            }
            largest[band][half] = peak;
            total[band][half] = total[band][half] * shrink + sum;
#pragma unroll
            for (int i = 0; i < HEAD / 4; i++) sums[band][i / 2][2 * half + i % 2] *= shrink;
        }
}

__device__ __forceinline__ void multiply_values(Sums &sums, const Scores &s, const elem *values) {
    const int lane = threadIdx.x % WARP;
    values += lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int key = 0; key < KEYS; key += 16) {
        u32 a[BANDS][4], b[4];
#pragma unroll
        for (int band = 0; band < BANDS; band++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float(&pair)[4] = s[band][key / 8 + i / 2];
                a[band][i] = narrow_pair(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
            }
#pragma unroll
        for (int dim = 0; dim < HEAD; dim += 16) {
            ldmatrix_x4_trans(b, values + key * STRIDE + dim);
#pragma unroll
            for (int band = 0; band < BANDS; band++) {
                mma(sums[band][dim / 8], a[band], {b[0], b[1]});
                mma(sums[band][dim / 8 + 1], a[band], {b[2], b[3]});
            }
        }
    }
}

__device__ __forceinline__ void store(elem *out, const Sums &sums, const PerRow &total,
                                      const Tile &tile) {
    const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int band = 0; band < BANDS; band++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = total[band][half];
            all += __shfl_xor_sync(ALL_LANES, all, 1);
            all += __shfl_xor_sync(ALL_LANES, all, 2);
            const int row = (threadIdx.x / WARP * BANDS + band) * 16 + half * 8 + g;
            const float factor = 1 / all;
            if (row >= tile.tokens * GROUP) continue;
            elem *to = out + row_offset(tile, row) + 2 * t;
#pragma unroll
            for (int dim = 0; dim < HEAD; dim += 8) {
                const float(&c)[4] = sums[band][dim / 8];
                *(u32 *)(to + dim) = narrow_pair(c[2 * half] * factor, c[2 * half + 1] * factor);
            }
        }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_prefill(elem *out, const elem *q, const elem *k, const elem *v, const int *tables,
                      const int *context_lens, const int *query_starts, const int *tiles, int width,
                      float scale) {
    extern __shared__ __align__(16) elem staged[];
    // not in registers, of which HEAD * BANDS / 2 hold sums and KEYS * BANDS / 2 scores
    __shared__ Tile tile;
    __shared__ int positions[ROWS];
    elem *const stages = staged + ROWS * STRIDE;
    const elem *queries = staged + threadIdx.x / WARP * (BANDS * 16 * STRIDE);

    if (threadIdx.x == 0)
        tile = find_tile(tables, context_lens, query_starts, tiles, width);
    __syncthreads();
    for (int row = threadIdx.x; row < ROWS; row += THREADS)
        positions[row] = tile.position + row / GROUP;
    stage_queries(staged, q, tile);
    stage_keys(stages, k, v, block_of(tile, 0), tile.visible);
    cp_async_commit();
    int block = block_of(tile, KEYS);
    Sums sums = {};
    PerRow largest, total = {};
    for (float(&pair)[2] : largest) pair[0] = pair[1] = LOWEST;
    for (int first = 0; first < tile.visible; first += KEYS) {
        const elem *keys = stages + (first & KEYS) * (2 * STRIDE);
        elem *other = stages + (~first & KEYS) * (2 * STRIDE);
        cp_async_wait<0>();
        __syncthreads();
        if (first + KEYS < tile.visible) {
            stage_keys(other, k, v, block, tile.visible - first - KEYS);
            cp_async_commit();
            block = block_of(tile, first + 2 * KEYS);
        }
        Scores s = {};
        multiply_keys(s, queries, keys);
        if (first + KEYS > tile.position)
            mask(s, positions + threadIdx.x / WARP * (BANDS * 16), first);
        weigh(s, sums, largest, total, scale);
        multiply_values(sums, s, keys + KEYS * STRIDE);
    }
    store(out, sums, total, tile);
}
#endif
