// Attention of one query token, split over its context: a block takes one key/value head and SPAN
// positions. Partial results travel in words, like everything else between blocks.
#pragma once
#include "decode_stream.cuh"
#include "words.cuh"

#define BLOCK_SIZE 16
#define GROUP (HEADS / KV_HEADS)
#define LANES_PER_ROW (HEAD / VEC)
#define ROWS_PER_WARP (WARP / LANES_PER_ROW)
// A partial result: the weighted sum of values, the largest score, the sum of weights.
#define PART (HEAD + 2)
#define LOWEST -1e30f

struct Attention {
    elem *k_cache, *v_cache; // of this layer
    const int *blocks;             // the sequence's block table
    u64 *qkv;                // words[QKV_SIZE]
    u64 *parts;                    // words[spans, HEADS, PART]
    u64 *result;                   // words[HEADS, HEAD]
    int position;                  // of the query; its own key and value are in qkv
    u32 tag;

    __device__ __forceinline__ int spans() const { return position / SPAN + 1; }

    __device__ __forceinline__ long long row(int head, int at) const {
        long long block = __ldg(blocks + at / BLOCK_SIZE);
        return ((block * KV_HEADS + head) * BLOCK_SIZE + at % BLOCK_SIZE) * HEAD;
    }
};

// What a lane has of the group's queries: VEC numbers of each, and its share of the result.
struct Share {
    float q[GROUP][VEC], sum[GROUP][VEC], most[GROUP], weight[GROUP];

    // Scores of one row for all queries of the group, over the lanes that hold the row.
    __device__ __forceinline__ void scores(const float (&k)[VEC], float (&s)[GROUP]) const {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            s[g] = 0;
#pragma unroll
            for (int e = 0; e < VEC; e++) s[g] += q[g][e] * k[e];
#pragma unroll
            for (int distance = LANES_PER_ROW / 2; distance; distance /= 2)
                s[g] += __shfl_xor_sync(ALL_LANES, s[g], distance);
        }
    }

    __device__ __forceinline__ void scale_to(int g, float largest) {
        float scale = exp2f(most[g] - largest);
        most[g] = largest;
        weight[g] *= scale;
#pragma unroll
        for (int e = 0; e < VEC; e++) sum[g][e] *= scale;
    }

    __device__ __forceinline__ void add(int g, float score, const float (&v)[VEC]) {
        float p = exp2f(score - most[g]);
        weight[g] += p;
#pragma unroll
        for (int e = 0; e < VEC; e++) sum[g][e] += p * v[e];
    }

    // Join the shares of lanes that hold the same columns of different rows.
    // Join the shares of lanes that hold the same columns of different rows.
    __device__ __forceinline__ void merge_rows() {
#pragma unroll 1
        for (int distance = LANES_PER_ROW; distance < WARP; distance *= 2) {
#pragma unroll
            for (int g = 0; g < GROUP; g++) {
                scale_to(g, fmaxf(most[g], __shfl_xor_sync(ALL_LANES, most[g], distance)));
                weight[g] += __shfl_xor_sync(ALL_LANES, weight[g], distance);
#pragma unroll
                for (int e = 0; e < VEC; e++)
                    sum[g][e] += __shfl_xor_sync(ALL_LANES, sum[g][e], distance);
            }
        }
    }
};

// The group's queries and the newest key and value, as floats in shared memory. The scale of the
// queries includes log2(e), since weights are powers of two.
struct Newest {
    float *q, *k, *v;
    bool in_span;

    __device__ __forceinline__ void load(const Attention &a, int head) const {
        float scale = rsqrtf((float)HEAD) * 1.4426950408889634f;
        int count = GROUP * HEAD + (in_span ? 2 * HEAD : 0);
#pragma unroll 1
        for (int i = 2 * threadIdx.x; i < count; i += 2 * THREADS) {
            int own = i - GROUP * HEAD, which = own / HEAD;
            const u64 *at[1] = {a.qkv + (own < 0 ? head * GROUP * HEAD + i
                                                 : (HEADS + which * KV_HEADS + head) * HEAD +
                                                       own % HEAD)};
            float2 pair[1];
            take_pairs(at, 1, a.tag, pair);
            float factor = own < 0 ? scale : 1;
            *(float2 *)(own < 0 ? q + i : which ? v + own % HEAD : k + own) =
                make_float2(pair[0].x * factor, pair[0].y * factor);
        }
    }
};

// Older keys and values of the span, the next row on its way while one is computed. The code of
// this kernel is walked through once a layer, so it is kept short: loops stay loops.
__device__ __forceinline__ void attend_rows(const Attention &a, int head, int begin, int end,
                                            const Newest &newest, Share &mine) {
    int lane = threadIdx.x % WARP, column = lane % LANES_PER_ROW * VEC;
    int at = begin + threadIdx.x / WARP * ROWS_PER_WARP + lane / LANES_PER_ROW;
    const int stride = WARPS * ROWS_PER_WARP;
    const uint4 none = make_uint4(0, 0, 0, 0);
    uint4 k = none, v = none;
    auto fetch = [&]() {
        if (at >= end) return;
        long long row = a.row(head, at) + column;
        k = *(const uint4 *)(a.k_cache + row);
        v = *(const uint4 *)(a.v_cache + row);
    };
    fetch();
    newest.load(a, head); // the first rows are on their way while the query is awaited
    sync_first(THREADS);
#pragma unroll
    for (int g = 0; g < GROUP; g++)
#pragma unroll
        for (int e = 0; e < VEC; e++) mine.q[g][e] = newest.q[g * HEAD + column + e];
#pragma unroll 1
    for (int from = begin; from < end; from += stride) {
        float wide_k[VEC], wide_v[VEC], s[GROUP];
        widen_vec(k, wide_k);
        widen_vec(v, wide_v);
        bool there = at < end;
        at += stride;
        fetch();
        mine.scores(wide_k, s);
        if (!there) continue;
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            mine.scale_to(g, fmaxf(mine.most[g], s[g]));
            mine.add(g, s[g], wide_v);
        }
    }
}

// The newest token's own key and value: one warp, the lanes of its first row.
__device__ __forceinline__ void attend_newest(const Newest &newest, Share &mine) {
    int lane = threadIdx.x % WARP, column = lane % LANES_PER_ROW * VEC;
    float wide[VEC], s[GROUP];
#pragma unroll
    for (int e = 0; e < VEC; e++) wide[e] = newest.k[column + e];
    mine.scores(wide, s);
    if (lane >= LANES_PER_ROW) return;
#pragma unroll
    for (int e = 0; e < VEC; e++) wide[e] = newest.v[column + e];
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        mine.scale_to(g, fmaxf(mine.most[g], s[g]));
        mine.add(g, s[g], wide);
    }
}

// Merge the warps' parts, [WARPS, count, PART] in shared memory, and hand on head by head.
// Called by all threads; use(head, k, sum, most, weight) for each number of the result.
template <class Use>
__device__ __forceinline__ void merge_warps(const float *parts, int count, Use use) {
    sync_first(THREADS);
#pragma unroll 1
    for (int i = threadIdx.x; i < count * HEAD; i += THREADS) {
        int head = i / HEAD, k = i % HEAD;
        float most = LOWEST, sum = 0, weight = 0;
#pragma unroll 1
        for (int w = 0; w < WARPS; w++)
            most = fmaxf(most, parts[(w * count + head) * PART + HEAD]);
#pragma unroll 1
        for (int w = 0; w < WARPS; w++) {
            const float *part = parts + (w * count + head) * PART;
            float scale = exp2f(part[HEAD] - most);
            sum += part[k] * scale;
            weight += part[HEAD + 1] * scale;
        }
        use(head, k, sum, most, weight);
    }
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

// One key/value head over one span. scratch: floats[(GROUP + 2) * HEAD + WARPS * GROUP * PART].
__device__ __forceinline__ void attend_span(const Attention &a, int head, int span,
                                            float *scratch) {
    Newest newest = {scratch, scratch + GROUP * HEAD, scratch + (GROUP + 1) * HEAD,
                     span == a.spans() - 1};
    float *parts = scratch + (GROUP + 2) * HEAD;
    int begin = span * SPAN, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    Share mine;
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        mine.most[g] = LOWEST;
        mine.weight[g] = 0;
#pragma unroll
        for (int e = 0; e < VEC; e++) mine.sum[g][e] = 0;
    }
    attend_rows(a, head, begin, min(begin + SPAN, a.position), newest, mine);
    if (newest.in_span && warp == 0) attend_newest(newest, mine);
    mine.merge_rows();
    if (lane < LANES_PER_ROW) {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float *part = parts + (warp * GROUP + g) * PART;
#pragma unroll
            for (int e = 0; e < VEC; e++) part[lane * VEC + e] = mine.sum[g][e];
            part[HEAD] = mine.most[g];
            part[HEAD + 1] = mine.weight[g];
        }
    }
    bool whole = a.spans() == 1;
    merge_warps(parts, GROUP, [&](int g, int d, float sum, float most, float weight) {
        int query = head * GROUP + g;
        u64 *part = a.parts + ((long long)span * HEADS + query) * PART;
        if (whole) {
            put_word(a.result + query * HEAD + d, sum / weight, a.tag);
            return;
        }
        put_word(part + d, sum, a.tag);
        if (d == 0) put_word(part + HEAD, most, a.tag);
        if (d == 0) put_word(part + HEAD + 1, weight, a.tag);
    });
    sync_first(THREADS);
}

// Merge all spans of one query head, each warp some of them.
__device__ __forceinline__ void merge_spans(const Attention &a, int head, float *scratch) {
    const int pairs = (HEAD / 2 + WARP - 1) / WARP, each = pairs + 1;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    float2 sum[pairs];
    float most = LOWEST, weight = 0;
#pragma unroll
    for (int j = 0; j < pairs; j++) sum[j] = make_float2(0, 0);
#pragma unroll 1
    for (int span = warp; span < a.spans(); span += WARPS) {
        const u64 *at[each];
        float2 taken[each];
        u32 missing = 1u << pairs;
#pragma unroll
        for (int j = 0; j < each; j++) {
            int d = j == pairs ? HEAD : 2 * (lane + j * WARP);
            at[j] = a.parts + ((long long)span * HEADS + head) * PART + d;
            if (d < HEAD) missing |= 1u << j;
        }
        take_pairs(at, missing, a.tag, taken);
        float largest = fmaxf(most, taken[pairs].x);
        float keep = exp2f(most - largest), factor = exp2f(taken[pairs].x - largest);
        most = largest;
        weight = weight * keep + taken[pairs].y * factor;
#pragma unroll
        for (int j = 0; j < pairs; j++) {
            sum[j].x = sum[j].x * keep + taken[j].x * factor;
            sum[j].y = sum[j].y * keep + taken[j].y * factor;
        }
    }
    float *part = scratch + warp * PART;
#pragma unroll
    for (int j = 0; j < pairs; j++) {
        int d = 2 * (lane + j * WARP);
        if (d < HEAD) *(float2 *)(part + d) = sum[j];
    }
    if (lane == 0) *(float2 *)(part + HEAD) = make_float2(most, weight);
    merge_warps(scratch, 1, [&](int, int d, float total, float, float all) {
        put_word(a.result + head * HEAD + d, total / all, a.tag);
    });
    sync_first(THREADS);
}
