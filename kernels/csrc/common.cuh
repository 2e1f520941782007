// What every kernel needs: the storage type that it is compiled for, and sums over a warp or block.
//
// DTYPE is given when a file is compiled. Weights, caches and what passes between the ops of a
// layer are of type elem; arithmetic is in fp32.
#pragma once
#include "ptx.cuh"

#define F32 0
#define F16 1
#define BF16 2
#ifndef DTYPE
#error "compile with -DDTYPE=0 (fp32), 1 (fp16) or 2 (bf16)"
#endif

#define WARP 32
#define ALL_LANES 0xffffffffu
#define MINUS_INFINITY __int_as_float(0xff800000)

#if DTYPE == F32
typedef float elem;
#else
typedef u16 elem;
#endif

// Numbers in 16 bytes, the widest load there is.
#define VEC (16 / (int)sizeof(elem))

__device__ __forceinline__ float widen(elem x) {
#if DTYPE == F32
    return x;
#elif DTYPE == F16
    return f16_to_f32(x);
#else
    return __uint_as_float((u32)x << 16);
#endif
}

__device__ __forceinline__ elem narrow(float x) {
#if DTYPE == F32
    return x;
#elif DTYPE == F16
    return f32_to_f16(x);
#else
    return f32_to_bf16(x);
#endif
}

#if DTYPE != F32
__device__ __forceinline__ void widen_pair(u32 pair, float &low, float &high) {
#if DTYPE == F16
    low = f16_to_f32((u16)pair);
    high = f16_to_f32((u16)(pair >> 16));
#else
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000u);
#endif
}

__device__ __forceinline__ u32 narrow_pair(float low, float high) {
#if DTYPE == F16
    return pack_f16(low, high);
#else
    return pack_bf16(low, high);
#endif
}

// c += a · b on the tensor cores, see mma_f16.
__device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if DTYPE == F16
    mma_f16(c, a, b);
#else
    mma_bf16(c, a, b);
#endif
}
#endif

__device__ __forceinline__ void widen_vec(const uint4 &v, float (&x)[VEC]) {
#if DTYPE == F32
    x[0] = __uint_as_float(v.x);
    x[1] = __uint_as_float(v.y);
    x[2] = __uint_as_float(v.z);
    x[3] = __uint_as_float(v.w);
#else
    widen_pair(v.x, x[0], x[1]);
    widen_pair(v.y, x[2], x[3]);
    widen_pair(v.z, x[4], x[5]);
    widen_pair(v.w, x[6], x[7]);
#endif
}

__device__ __forceinline__ uint4 narrow_vec(const float (&x)[VEC]) {
#if DTYPE == F32
    return make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]),
                      __float_as_uint(x[3]));
#else
    return make_uint4(narrow_pair(x[0], x[1]), narrow_pair(x[2], x[3]), narrow_pair(x[4], x[5]),
                      narrow_pair(x[6], x[7]));
#endif
}

// The sum over a warp, the same in every lane.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = WARP / 2; distance; distance /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int distance = WARP / 2; distance; distance /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, distance));
    return x;
}

// The sum over a block of whole warps, the same in every thread. `scratch` holds one float for
// each warp and may be used again after the next __syncthreads().
__device__ __forceinline__ float block_sum(float x, float *scratch) {
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = x;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) sum += scratch[warp];
    return sum;
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }
