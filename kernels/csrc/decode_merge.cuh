// What blocks found in their spans of a context becomes one result: by everybody who needs it where
// the spans are few, else by one block for each query head.
#pragma once
#include "decode_attend.cuh"

// Four numbers of the result, from spans that other blocks have attended to.
struct Merged {
    float4 mean;
    float most, weight;

    // quad: of this thread, none if Q_SIZE / 4; spans `first`, `first` + step, ... below `spans`.
    __device__ __forceinline__ void take(const Attention &a, int quad, int first, int step,
                                         int spans) {
        mean = make_float4(0, 0, 0, 0);
        most = LOWEST;
        weight = 0;
#pragma unroll 1
        for (int span = first; span < spans; span += step * SPANS_AT_ONCE)
            take_few(a, quad, span, step, spans);
    }

    __device__ __forceinline__ void take_few(const Attention &a, int quad, int first, int step,
                                             int spans) {
        const u64 *at[2 * SPANS_AT_ONCE];
        uint2 taken[2 * SPANS_AT_ONCE];
        u32 missing = 0;
#pragma unroll
        for (int j = 0; j < SPANS_AT_ONCE; j++) {
            int span = first + j * step;
            at[j] = a.mean(span, quad);
            at[SPANS_AT_ONCE + j] = a.logarithm(span, quad / QUADS_PER_HEAD);
            if (quad < Q_SIZE / 4 && span < spans) missing |= (1u | 1u << SPANS_AT_ONCE) << j;
        }
        wait_for_first(at[0], missing & 1, a.tag);
        take_pairs(at, missing, a.tag, taken);
        float logarithms[SPANS_AT_ONCE], before = most;
#pragma unroll
        for (int j = 0; j < SPANS_AT_ONCE; j++) {
            logarithms[j] = missing >> j & 1 ? pair_of(taken[SPANS_AT_ONCE + j]).x : LOWEST;
            most = fmaxf(most, logarithms[j]);
        }
        scale(exp2f(before - most));
#pragma unroll
        for (int j = 0; j < SPANS_AT_ONCE; j++)
            if (missing >> j & 1) add(quad_of(taken[j]), exp2f(logarithms[j] - most));
    }

    __device__ __forceinline__ void scale(float factor) {
        weight *= factor;
        mean = make_float4(mean.x * factor, mean.y * factor, mean.z * factor, mean.w * factor);
    }

    __device__ __forceinline__ void add(float4 v, float factor) {
        weight += factor;
        mean.x += v.x * factor;
        mean.y += v.y * factor;
        mean.z += v.z * factor;
        mean.w += v.w * factor;
    }
};

// Merge all spans of one query head, each warp some of them.
__device__ __forceinline__ void merge_spans(const Attention &a, int head, const Scratch &scratch) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    sync_first(THREADS); // scratch is free
#pragma unroll 1
    for (int begin = 0; begin < QUADS_PER_HEAD; begin += WARP) {
        bool inside = begin + lane < QUADS_PER_HEAD;
        Merged own;
        own.take(a, inside ? head * QUADS_PER_HEAD + begin + lane : Q_SIZE / 4, warp, WARPS,
                 a.spans());
        if (!inside) continue;
        *(float4 *)(scratch.sums + warp * GROUP * HEAD + 4 * (begin + lane)) = own.mean;
        scratch.marks[warp * GROUP] = make_float2(own.most, own.weight);
    }
    sync_first(THREADS);
    int quad = threadIdx.x;
    if (quad >= QUADS_PER_HEAD) return;
    float4 mean;
    merge_warps(scratch, 0, quad, mean);
    put_quad(a.result + head * (HEAD / 2) + 2 * quad, mean, a.tag);
}
