// What the products share: which rows of w meet which tokens, in which order products are
// summed, and what becomes of a sum.
//
// w[n, k] is the A operand of mma.m16n8k16: 16 rows, a strip, made of two octets of rows. x[tokens,
// k] is the B operand: 8 tokens. k is cut into blocks of 32 numbers; lane t of a row takes numbers
// 8t .. 8t + 7 of a block, 16 bytes at once, and two mma take four of them each. That permutes k
// within a block, alike for both operands: a load of 16 bytes is an operand as it is, from global
// or from shared memory.
//
// k is also cut into parts of whole 64s, by the shape of w alone. A part is summed by a chain of
// mma that starts at zero; parts are added in fp32, in their order. Where every kernel does so, a
// token's result depends neither on the number of tokens nor on its neighbours.
#pragma once
#include "common.cuh"

// EPILOGUE, what becomes of the sums of token m and row i of w:
#define STORE 0     // elem out[m, i]
#define RESIDUAL 1  // fp32 out[m, i] += sum
#define GATED 2     // elem out[m, i], i < n/2: silu(sum i) * (sum i + n/2)
#define WIDE 3      // fp32 out[m, i]
#define ROPE 4      // queries rotated to out, keys rotated and values to the cache (matmul_few.cu)

#if EPILOGUE == RESIDUAL || EPILOGUE == WIDE
typedef float result;
#else
typedef elem result;
#endif

#define OCTET 8
#define STRIP 16
#define BLOCK 32
#define PART_UNIT 64

#if DTYPE != F32
// COMPUTE_F16: the sums of a part are in fp16.
#ifndef COMPUTE_F16
#define COMPUTE_F16 0
#endif

// The sums of a strip and 8 tokens, in the layout of mma's c.
struct Sums {
#if COMPUTE_F16
    u32 pairs[2];
#else
    float values[4];
#endif
};

__device__ __forceinline__ void clear(Sums &sums) {
#if COMPUTE_F16
    sums.pairs[0] = sums.pairs[1] = 0;
#else
    sums.values[0] = sums.values[1] = sums.values[2] = sums.values[3] = 0;
#endif
}

// With g = lane / 4 and t = lane % 4: (row g, token 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ float4 widened(const Sums &sums) {
    float4 v;
#if COMPUTE_F16
    widen_pair(sums.pairs[0], v.x, v.y);
    widen_pair(sums.pairs[1], v.z, v.w);
#else
    v = make_float4(sums.values[0], sums.values[1], sums.values[2], sums.values[3]);
#endif
    return v;
}

__device__ __forceinline__ void multiply(Sums &sums, const u32 (&a)[4], const u32 (&b)[2]) {
#if COMPUTE_F16
    mma_f16_f16(sums.pairs, a, b);
#else
    mma(sums.values, a, b);
#endif
}

// One of the two mma (half 0, then 1) of a block of k. At lane (g, t): `low` and `high` are numbers
// 8t.. of rows g and g + 8 of the strip, `x` those of token g.
__device__ __forceinline__ void multiply(Sums &sums, const uint4 &low, const uint4 &high,
                                         const uint4 &x, int half) {
    const u32 first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
    const u32(&a)[4] = half ? second : first;
    const u32 b[2] = {half ? x.z : x.x, half ? x.w : x.y};
    multiply(sums, a, b);
}
#endif

// The first row of w in one octet of a strip. Values that one thread must see together, a gate and
// its number or the two halves of a rotated pair, stand 8 rows apart in a strip.
__device__ __forceinline__ int octet_row(int strip, int octet, int n) {
#if EPILOGUE == GATED
    return octet * (n / 2) + strip * OCTET;
#elif EPILOGUE == ROPE
    const int strips = HEAD / STRIP;  // of one head
    return strip / strips * HEAD + octet * (HEAD / 2) + strip % strips * OCTET;
#else
    return strip * STRIP + octet * OCTET;
#endif
}

// Of a row of the result.
__device__ __forceinline__ int width_of(int n) { return EPILOGUE == GATED ? n / 2 : n; }

__device__ __forceinline__ int strips_of(int n) {
    const int rows = EPILOGUE == GATED ? OCTET : STRIP;
    return (width_of(n) + rows - 1) / rows;
}

__device__ __forceinline__ void put(result *out, float sum) {
#if EPILOGUE == RESIDUAL
    *out += sum;
#elif EPILOGUE == WIDE
    *out = sum;
#else
    *out = narrow(sum);
#endif
}

// The sums of one token and row g of both octets of a strip.
__device__ __forceinline__ void put_pair(result *out, int strip, int g, int token, int n,
                                         float low, float high) {
    const int width = width_of(n);
    result *row = out + (long long)token * width;
#if EPILOGUE == GATED
    const int column = strip * OCTET + g;
    if (column < width) put(row + column, silu(low) * high);
#else
    const int column = strip * STRIP + g;
    if (column < width) put(row + column, low);
    if (column + OCTET < width) put(row + column + OCTET, high);
#endif
}
