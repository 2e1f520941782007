// What both kernels of sample.cu know of a row: how its seat samples, its logits, and what is
// written once its token is known.
#pragma once
#include "common.cuh"

#define INFINITE __uint_as_float(0x7f800000u)
#define IN_PROMPT 0x80000000u

// Of the binding's array, byte by byte. temperature 0: greedy. top_k 0, top_p 1, min_p 0,
// repetition 1, presence 0, frequency 0: off.
struct Seat {
    double temperature, top_p, min_p, repetition, presence, frequency;
    long long top_k, seed;

    __device__ __forceinline__ bool punishes() const {
        return repetition != 1 || presence != 0 || frequency != 0;
    }

    // A logit after the penalties. `count`: see counts in sample.cu.
    __device__ __forceinline__ float punished(float x, u32 count) const {
        if (count) x = x > 0 ? x / (float)repetition : x * (float)repetition;
        u32 answered = count & ~IN_PROMPT;
        return answered ? (float)(x - (presence + frequency * answered)) : x;
    }
};
static_assert(sizeof(Seat) == SEAT_BYTES, "the binding's array has another layout");

// One row of logits, read by four tokens at once. Past the end there are tokens that cannot come.
struct Logits {
    float *row;
    int vocab;

    __device__ __forceinline__ void load(int first, float (&x)[4]) const {
        if (vocab % 4 == 0 && first < vocab) {
            float4 v = *reinterpret_cast<const float4 *>(row + first);
            x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) x[i] = first + i < vocab ? row[first + i] : -INFINITE;
        }
    }
};

// A number that orders as the float does: -0 as 0, and NaN above all.
__device__ __forceinline__ u32 rank_of(float x) {
    u32 bits = __float_as_uint(x + 0.0f);
    if (x != x) return ~0u;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float value_of(u32 rank) {
    return __uint_as_float(rank >> 31 ? rank & 0x7fffffffu : ~rank);
}

// True in every thread of the block that comes here last of `blocks`; it sees what all of them
// wrote before. `done` is 0 before the first and after the last.
__device__ __forceinline__ bool comes_last(u32 *done, u32 blocks) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        last = add_acq_rel(done, 1) == blocks - 1;
        if (last) *done = 0;
    }
    __syncthreads();
    return last;
}

// A row of the next decode step. A row that has no block for its next token becomes padding.
struct Next {
    long long position, slot;
    int context;
};

// Where a row's token goes; see sample.cu. positions and what follows it may be null.
struct Outcome {
    int *sampled, *context_lens;
    u32 *counts;
    long long *positions, *slots;
    const int *block_tables;
    int table_width, block_size, vocab;

    // Asked for early, so that it has arrived when the token is known.
    __device__ __forceinline__ Next next(int row, int context) const {
        if (!positions) return {};
        long long position = positions[row] + 1, index = position / block_size;
        int block = -1;
        if (index < table_width) block = block_tables[(long long)row * table_width + index];
        if (block < 0) return {position, -1, 0};
        return {position, (long long)block * block_size + position % block_size, context + 1};
    }

    // By one thread. token -1: the row failed, and leaves.
    __device__ __forceinline__ void write(int row, int seat, bool counted, int token,
                                          const Next &next) const {
        sampled[seat] = token;
        if (counted && token >= 0) counts[(long long)seat * vocab + token]++;
        if (!positions) return;
        positions[row] = next.position;
        slots[row] = token < 0 ? -1 : next.slot;
        context_lens[row] = token < 0 ? 0 : next.context;
    }
};
