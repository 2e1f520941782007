// matmul_f32: out[tokens, n] = x[tokens, k] · w[n, k]ᵀ, all fp32, every product and sum in fp32.
//
// To check other kernels and small models with: no tensor cores, no TF32, any number of tokens.
// A block makes a tile of 64 rows of w and 64 tokens, a thread 4 x 4 of it; both operands come
// through shared memory, 16 numbers of k at a time.
//
//   x      fp32[tokens, k], w fp32[n, k], both 16-byte aligned, k a multiple of 4
//   out    see matmul.cuh; all results are fp32
//   grid   (tiles of strips_of(n) / 4, tiles of tokens / 64)
//   block  256
//   moved  64·2·k·4 bytes for each tile
//
// dtypes: f32
// compile: EPILOGUE=0
// compile: EPILOGUE=1
// compile: EPILOGUE=2
// compile: EPILOGUE=3
#include "matmul.cuh"

#if DTYPE != F32
#error "w in fp32: 16-bit weights are matmul_few.cu's and matmul_transb.cu's"
#endif

#define TILE 64
#define STRIPS (TILE / STRIP)
#define STEP 16
#define EACH 4
#define ACROSS (TILE / EACH)

// Numbers start.. of one row, this thread's four of a step; zeros past its end.
__device__ __forceinline__ void copy(float (&tile)[STEP][TILE + 1], const float *matrix, int row,
                                     int start, int k) {
    const int at = threadIdx.x / (STEP / EACH), first = threadIdx.x % (STEP / EACH) * EACH;
    float4 v = make_float4(0, 0, 0, 0);
    if (start + first < k) v = *(const float4 *)(matrix + (long long)row * k + start + first);
    tile[first][at] = v.x, tile[first + 1][at] = v.y;
    tile[first + 2][at] = v.z, tile[first + 3][at] = v.w;
}

extern "C" __global__ void __launch_bounds__(256)
    matmul_f32(const float *x, const float *w, float *out, int tokens, int n, int k) {
    __shared__ float w_tile[STEP][TILE + 1], x_tile[STEP][TILE + 1];
    const int copied = threadIdx.x / (STEP / EACH);
    const int copied_strip = blockIdx.x * STRIPS + copied / STRIP;
    const int w_row =
        min(octet_row(copied_strip, copied / OCTET % 2, n) + copied % OCTET, n - 1);
    const int x_row = min((int)blockIdx.y * TILE + copied, tokens - 1);
    // this thread's rows: g and g + 1 of both octets of a strip; its tokens: every 16th
    const int strip = threadIdx.x / ACROSS / EACH, g = threadIdx.x / ACROSS % EACH * 2;
    const int row = strip * STRIP + g, token = threadIdx.x % ACROSS;

    float sums[EACH][EACH] = {};
    for (int start = 0; start < k; start += STEP) {
        __syncthreads();
        copy(w_tile, w, w_row, start, k);
        copy(x_tile, x, x_row, start, k);
        __syncthreads();
        float part[EACH][EACH] = {}; // short sums first: what is rounded off stays small
#pragma unroll
        for (int i = 0; i < STEP; i++)
#pragma unroll
            for (int j = 0; j < EACH * EACH; j++)
                part[j / EACH][j % EACH] += w_tile[i][row + j / EACH % 2 + j / EACH / 2 * OCTET] *
                                            x_tile[i][token + j % EACH * ACROSS];
#pragma unroll
        for (int j = 0; j < EACH * EACH; j++) sums[j / EACH][j % EACH] += part[j / EACH][j % EACH];
    }
#pragma unroll
    for (int j = 0; j < EACH * 2; j++) {
        const int m = blockIdx.y * TILE + token + j / 2 * ACROSS;
        if (m < tokens)
            put_pair(out, blockIdx.x * STRIPS + strip, g + j % 2, m, n, sums[j % 2][j / 2],
                     sums[j % 2 + 2][j / 2]);
    }
}
