// embedding: rows of a table, widened.
//
//   table   elem[V, hidden]
//   ids     int64[T]       a row of the table, or -1 - s: the row that sampled[s] names
//   sampled int32[...]     tokens that the last step chose; null if no id is negative
//   out     fp32[T, hidden]
//
// hidden: a multiple of VEC, table aligned to 16 bytes. Every id, direct or not, is below V.
// Grid: (T, enough blocks that every VEC numbers of a row have a thread). Block: any size.
// Bytes moved: hidden · (sizeof(elem) + 4) a token.
//
// compile:
#include "common.cuh"

extern "C" __global__ void embedding(const elem *__restrict__ table,
                                     const long long *__restrict__ ids,
                                     const int *__restrict__ sampled, float *__restrict__ out,
                                     int hidden) {
    int column = (blockIdx.y * blockDim.x + threadIdx.x) * VEC;
    if (column >= hidden) return;
    long long id = ids[blockIdx.x];
    if (id < 0) id = max(sampled[-1 - id], 0); // a failed row goes on as padding
    float x[VEC];
    widen_vec(*reinterpret_cast<const uint4 *>(table + id * hidden + column), x);
    float4 *to = reinterpret_cast<float4 *>(out + (long long)blockIdx.x * hidden + column);
#pragma unroll
    for (int i = 0; i < VEC / 4; i++)
        to[i] = make_float4(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
}
