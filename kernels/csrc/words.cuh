// Words: how blocks of a running kernel hand numbers to each other without a barrier.
//
// A word holds a number and, beside it, the tag of the moment that it belongs to. Who needs the
// number reads the word until it carries that tag. One 64-bit access is never seen in halves, so
// nothing else has to be waited for. A tag is a count that grows; buffers are used again.
#pragma once
#include "common.cuh"

__device__ __forceinline__ u64 word(u32 value, u32 tag) { return (u64)tag << 32 | value; }

// Two numbers in two neighbouring words.
__device__ __forceinline__ void put_pair(u64 *words, float a, float b, u32 tag) {
    store_shared_words(words, word(__float_as_uint(a), tag), word(__float_as_uint(b), tag));
}

__device__ __forceinline__ float2 pair_of(uint2 values) {
    return make_float2(__uint_as_float(values.x), __uint_as_float(values.y));
}

// Two numbers of the width of activations in one word.
__device__ __forceinline__ void put_two(u64 *at, float a, float b, u32 tag) {
    store_shared_word(at, word(narrow_pair(a, b), tag));
}

// Four of them in two neighbouring words.
__device__ __forceinline__ void put_quad(u64 *words, float4 v, u32 tag) {
    store_shared_words(words, word(narrow_pair(v.x, v.y), tag), word(narrow_pair(v.z, v.w), tag));
}

__device__ __forceinline__ float4 quad_of(uint2 values) {
    float4 v;
    widen_pair(values.x, v.x, v.y);
    widen_pair(values.y, v.z, v.w);
    return v;
}

// Until the first pair that the warp waits for is there, one lane asks for it: if all lanes of all
// blocks did, they would stand in each other's way, and in that of the word.
__device__ __forceinline__ void wait_for_first(const u64 *at, bool waits, u32 tag) {
    u32 waiting = __ballot_sync(ALL_LANES, waits);
    if (!waiting) return;
    bool leads = (int)(threadIdx.x % WARP) == __ffs(waiting) - 1, there;
    do {
        u64 first = 0, second;
        if (leads) load_shared_words(at, first, second);
        there = leads && (u32)(first >> 32) == tag;
    } while (!__any_sync(ALL_LANES, there));
}

// Pairs of words at some addresses, those whose bit is set in `missing`: read again and again, all
// that are missing at once, until all carry the tag.
template <int most>
__device__ __forceinline__ void take_pairs(const u64 *const (&at)[most], u32 missing, u32 tag,
                                           uint2 (&values)[most]) {
    while (missing) {
        u64 first[most], second[most];
#pragma unroll
        for (int j = 0; j < most; j++)
            if (missing >> j & 1) load_shared_words(at[j], first[j], second[j]);
#pragma unroll
        for (int j = 0; j < most; j++) {
            if (!(missing >> j & 1)) continue;
            if ((u32)(first[j] >> 32) != tag || (u32)(second[j] >> 32) != tag) continue;
            values[j] = make_uint2((u32)first[j], (u32)second[j]);
            missing &= ~(1u << j);
        }
    }
}

// The pairs `begin` + threadIdx.x and every THREADS-th after it, below `count`, at most `most`.
template <int most>
__device__ __forceinline__ void take_share(const u64 *words, int begin, int count, u32 tag,
                                           uint2 (&values)[most]) {
    const u64 *at[most];
    u32 missing = 0;
#pragma unroll
    for (int j = 0; j < most; j++) {
        int pair = begin + threadIdx.x + j * THREADS;
        at[j] = words + 2 * pair;
        if (pair < count) missing |= 1u << j;
    }
    wait_for_first(at[0], missing & 1, tag);
    take_pairs(at, missing, tag, values);
}
