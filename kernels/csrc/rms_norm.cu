// rms_norm: out = x / sqrt(mean(x^2) + eps) · weight, row by row (Zhang and Sennrich, 2019).
//
//   x      fp32[T, HIDDEN]   the residual stream
//   weight fp32[HIDDEN]
//   out    elem[T, HIDDEN]
//
// HIDDEN: a multiple of 4. THREADS: whole warps, at most 1024.
// Grid: one block of THREADS for each row, which it keeps in registers between sum and product.
// Bytes moved: HIDDEN · (4 + sizeof(elem)) a row; the weight comes from L2.
//
// compile: HIDDEN=2048 THREADS=256
// compile: HIDDEN=576 THREADS=96
// compile: HIDDEN=16384 THREADS=1024
#include "common.cuh"

#define VECTORS (HIDDEN / 4)
#define PER_THREAD ((VECTORS + THREADS - 1) / THREADS)

__device__ __forceinline__ void store_four(elem *out, int vector, const float4 &y) {
#if DTYPE == F32
    reinterpret_cast<float4 *>(out)[vector] = y;
#else
    reinterpret_cast<uint2 *>(out)[vector] =
        make_uint2(narrow_pair(y.x, y.y), narrow_pair(y.z, y.w));
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rms_norm(const float *__restrict__ x, const float *__restrict__ weight,
             elem *__restrict__ out, float eps) {
    __shared__ float scratch[THREADS / WARP];
    const float4 *row = reinterpret_cast<const float4 *>(x + (long long)blockIdx.x * HIDDEN);
    const float4 *weights = reinterpret_cast<const float4 *>(weight);

    // the weights are asked for before the sum is known, so that they arrive while it is made
    float4 v[PER_THREAD], w[PER_THREAD];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int vector = i * THREADS + threadIdx.x;
        if (vector < VECTORS) {
            v[i] = row[vector];
            w[i] = weights[vector];
            squares += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
        }
    }
    float scale = rsqrtf(block_sum(squares, scratch) / HIDDEN + eps);

    elem *out_row = out + (long long)blockIdx.x * HIDDEN;
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        int vector = i * THREADS + threadIdx.x;
        if (vector < VECTORS)
            store_four(out_row, vector,
                       make_float4(v[i].x * scale * w[i].x, v[i].y * scale * w[i].y,
                                   v[i].z * scale * w[i].z, v[i].w * scale * w[i].w));
    }
}
