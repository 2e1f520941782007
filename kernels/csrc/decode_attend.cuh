// Attention of one query token, split over its context: a block takes some query heads of one
// key/value head, and SPAN positions. Partial results travel in words, like everything else
// between blocks.
#pragma once
#include "decode_stream.cuh"
#include "words.cuh"

#define BLOCK_SIZE 16
#define GROUP (HEADS / KV_HEADS)
#define LANES_PER_ROW (HEAD / VEC)
#define ROWS_PER_WARP (WARP / LANES_PER_ROW)
#define ROWS_AT_ONCE (WARPS * ROWS_PER_WARP)
// Rows of a span that one lane holds.
#define ROWS ((SPAN + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE)
#define QUADS_PER_HEAD (HEAD / 4)
// Words of a span's result: of all heads the means of values, two numbers a word; then of each
// head, twice, the binary logarithm of its sum of weights.
#define SPAN_WORDS (Q_SIZE / 2 + 2 * HEADS)
#define SPANS_AT_ONCE 4
// So few spans are merged by everybody who needs the result; more, by one block for each head.
#define MOST_DIRECT (Q_SIZE <= 1024 ? 8 : Q_SIZE <= 2048 ? 4 : 2)
#define LOWEST -1e30f
// Floats in shared memory that attention needs, see `Scratch`.
#define SCRATCH ((GROUP + 2) * HEAD + WARPS * GROUP * (HEAD + 2))

struct Attention {
    elem *k_cache, *v_cache; // of this layer
    const int *blocks;       // the sequence's block table
    u64 *qkv;                // words[QKV_SIZE], the two numbers of a rotation next to each other
    u64 *parts;              // words[spans, SPAN_WORDS]
    u64 *result;             // words[Q_SIZE / 2]: of many spans
    int position;            // of the query; its own key and value are in qkv
    u32 tag;

    __device__ __forceinline__ int spans() const { return position / SPAN + 1; }

    // With few spans a block takes one query head, else a group: then keys are read only once.
    __device__ __forceinline__ int queries() const { return HEADS * spans() <= BLOCKS ? 1 : GROUP; }

    __device__ __forceinline__ bool is_merged_by_few() const { return spans() > MOST_DIRECT; }

    __device__ __forceinline__ bool is_merged_by_all() const {
        return spans() > 1 && spans() <= MOST_DIRECT;
    }

    // Where nobody has to merge.
    __device__ __forceinline__ const u64 *whole() const { return spans() == 1 ? parts : result; }

    // quad: of four numbers, counted over all heads.
    __device__ __forceinline__ u64 *mean(int span, int quad) const {
        return parts + (long long)span * SPAN_WORDS + 2 * quad;
    }

    __device__ __forceinline__ u64 *logarithm(int span, int head) const {
        return parts + (long long)span * SPAN_WORDS + Q_SIZE / 2 + 2 * head;
    }

    __device__ __forceinline__ long long row(int head, int at) const {
        long long block = __ldg(blocks + at / BLOCK_SIZE);
        return ((block * KV_HEADS + head) * BLOCK_SIZE + at % BLOCK_SIZE) * HEAD;
    }
};

// In shared memory. The scale of the queries includes log2(e), since weights are powers of two.
struct Scratch {
    float *q;      // [GROUP, HEAD]
    elem *newest;  // [2, HEAD]: the newest key and value
    float *sums;   // [WARPS, GROUP, HEAD]
    float2 *marks; // [WARPS, GROUP]: the largest score, the sum of weights

    __device__ __forceinline__ explicit Scratch(float *at) {
        q = at;
        newest = (elem *)(at + GROUP * HEAD);
        sums = at + (GROUP + 2) * HEAD;
        marks = (float2 *)(sums + WARPS * GROUP * HEAD);
    }

    // What the block needs of the token itself.
    __device__ __forceinline__ void load(const Attention &a, int query, int queries,
                                         bool with_newest) const {
        const float scale = rsqrtf((float)HEAD) * 1.4426950408889634f;
        int own = queries * HEAD / 2, count = own + (with_newest ? HEAD : 0);
#pragma unroll 1
        for (int i = threadIdx.x; i < count; i += THREADS) {
            int other = i - own, which = other / (HEAD / 2), pair = i % (HEAD / 2);
            int head = other < 0 ? query + i / (HEAD / 2)
                                 : HEADS + which * KV_HEADS + query / GROUP;
            const u64 *at[1] = {a.qkv + head * HEAD + 2 * pair};
            uint2 taken[1];
            take_pairs(at, 1, a.tag, taken);
            float2 v = pair_of(taken[0]);
            if (other < 0) {
                q[i / (HEAD / 2) * HEAD + pair] = v.x * scale;
                q[i / (HEAD / 2) * HEAD + pair + HEAD / 2] = v.y * scale;
            } else {
                newest[which * HEAD + pair] = narrow(v.x);
                newest[which * HEAD + pair + HEAD / 2] = narrow(v.y);
            }
        }
    }
};

// The keys and values of a span that a lane holds: VEC columns of every ROWS_AT_ONCE-th row.
struct Rows {
    uint4 k[ROWS], v[ROWS];
    int first, column, end; // row r is there if first + r * ROWS_AT_ONCE < end

    __device__ __forceinline__ bool there(int r) const { return first + r * ROWS_AT_ONCE < end; }

    // The older rows; on their way while the query is awaited.
    __device__ __forceinline__ void fetch(const Attention &a, int head, int span) {
        int lane = threadIdx.x % WARP, begin = span * SPAN;
        column = lane % LANES_PER_ROW * VEC;
        first = begin + threadIdx.x / WARP * ROWS_PER_WARP + lane / LANES_PER_ROW;
        end = min(begin + SPAN, a.position + 1);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            int at = first + r * ROWS_AT_ONCE;
            k[r] = v[r] = make_uint4(0, 0, 0, 0);
            if (at >= min(end, a.position)) continue;
            long long row = a.row(head, at) + column;
            k[r] = *(const uint4 *)(a.k_cache + row);
            v[r] = *(const uint4 *)(a.v_cache + row);
        }
    }

    __device__ __forceinline__ void put_newest(const elem *newest, int position) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (first + r * ROWS_AT_ONCE != position || !there(r)) continue;
            k[r] = *(const uint4 *)(newest + column);
            v[r] = *(const uint4 *)(newest + HEAD + column);
        }
    }

    // One query over the rows of the warp: HEAD weighted sums of values, and their mark.
    __device__ __forceinline__ void attend(const float *query, float *sums, float2 *mark) const {
        float q[VEC], s[ROWS], wide[VEC], sum[VEC], most = LOWEST, weight = 0;
#pragma unroll
        for (int e = 0; e < VEC; e++) {
            q[e] = query[column + e];
            sum[e] = 0;
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            widen_vec(k[r], wide);
            s[r] = 0;
#pragma unroll
            for (int e = 0; e < VEC; e++) s[r] += q[e] * wide[e];
        }
#pragma unroll
        for (int distance = LANES_PER_ROW / 2; distance; distance /= 2)
#pragma unroll
            for (int r = 0; r < ROWS; r++) s[r] += __shfl_xor_sync(ALL_LANES, s[r], distance);
#pragma unroll
        for (int r = 0; r < ROWS; r++) most = fmaxf(most, there(r) ? s[r] : LOWEST);
#pragma unroll
        for (int distance = LANES_PER_ROW; distance < WARP; distance *= 2)
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, distance));
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float p = there(r) ? exp2f(s[r] - most) : 0;
            weight += p;
            widen_vec(v[r], wide);
#pragma unroll
            for (int e = 0; e < VEC; e++) sum[e] += p * wide[e];
        }
#pragma unroll
        for (int distance = LANES_PER_ROW; distance < WARP; distance *= 2) {
            weight += __shfl_xor_sync(ALL_LANES, weight, distance);
#pragma unroll
            for (int e = 0; e < VEC; e++) sum[e] += __shfl_xor_sync(ALL_LANES, sum[e], distance);
        }
        if (threadIdx.x % WARP >= LANES_PER_ROW) return;
#pragma unroll
        for (int e = 0; e < VEC; e++) sums[column + e] = sum[e];
        if (column == 0) *mark = make_float2(most, weight);
    }
};

// A sum over warps in shared memory: four numbers of one query. Returns the binary logarithm of
// the sum of weights.
__device__ __forceinline__ float merge_warps(const Scratch &scratch, int g, int quad,
                                             float4 &mean) {
    float2 marks[WARPS];
    float most = LOWEST, weight = 0;
    mean = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        marks[w] = scratch.marks[w * GROUP + g];
        most = fmaxf(most, marks[w].x);
    }
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        float4 v = *(const float4 *)(scratch.sums + (w * GROUP + g) * HEAD + 4 * quad);
        float factor = exp2f(marks[w].x - most);
        weight += marks[w].y * factor;
        mean.x += v.x * factor;
        mean.y += v.y * factor;
        mean.z += v.z * factor;
        mean.w += v.w * factor;
    }
    float inverse = 1 / weight;
    mean = make_float4(mean.x * inverse, mean.y * inverse, mean.z * inverse, mean.w * inverse);
    return most + log2f(weight);
}

// Have the older keys and values of a span on their way from memory.
__device__ __forceinline__ void prefetch_span(const Attention &a, int head, int span) {
    const int line = 128 / sizeof(elem), lines = (HEAD + line - 1) / line;
    int begin = span * SPAN, count = min(SPAN, a.position - begin) * lines;
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += THREADS) {
        long long row = a.row(head, begin + i / lines) + i % lines * line;
        prefetch_l2(a.k_cache + row);
        prefetch_l2(a.v_cache + row);
    }
}

// Some query heads of one key/value head over one span. The two barriers are enough also where a
// block attends again: q is written after all have passed the second, sums after the first.
__device__ __forceinline__ void attend_span(const Attention &a, int query, int queries, int span,
                                            const Scratch &scratch) {
    Rows rows;
    rows.fetch(a, query / GROUP, span);
    bool with_newest = span == a.spans() - 1;
    scratch.load(a, query, queries, with_newest);
    sync_first(THREADS);
    if (with_newest) rows.put_newest(scratch.newest, a.position);
#pragma unroll 1
    for (int g = 0; g < queries; g++) {
        int at = threadIdx.x / WARP * GROUP + g;
        rows.attend(scratch.q + g * HEAD, scratch.sums + at * HEAD, scratch.marks + at);
    }
    sync_first(THREADS);
#pragma unroll 1
    for (int i = threadIdx.x; i < queries * QUADS_PER_HEAD; i += THREADS) {
        int g = i / QUADS_PER_HEAD, quad = i % QUADS_PER_HEAD;
        float4 mean;
        float logarithm = merge_warps(scratch, g, quad, mean);
        put_quad(a.mean(span, query * QUADS_PER_HEAD + i), mean, a.tag);
        if (quad == 0) put_pair(a.logarithm(span, query + g), logarithm, logarithm, a.tag);
    }
}
