// rope_append: rotate queries and keys by their positions, put keys and values into the cache.
//
// Rotary embedding (Su et al., 2021), "rotate half": element i of a head pairs with i + HEAD/2.
//
//   qkv              elem[tokens, HEADS + 2·KV_HEADS, HEAD]   queries, keys, values
//   cos, sin         fp32[P, HEAD/2]                          of every position
//   positions        int64[tokens]                            each below P
//   slots            int64[tokens]   block · BLOCK_SIZE + offset; -1: write no key, no value
//   k_cache, v_cache elem[blocks, KV_HEADS, BLOCK_SIZE, HEAD]
//   q                elem[tokens, HEADS, HEAD]                the rotated queries
//
// HEAD: a multiple of 2·VEC. Pointers aligned to 16 bytes.
// Grid: a thread for each VEC pairs of each head of each token. Block: any size.
// Bytes moved: 2 · (HEADS + 2·KV_HEADS) · HEAD · sizeof(elem) a token; cos and sin come from L2.
//
// compile: HEADS=32 KV_HEADS=8 HEAD=128 BLOCK_SIZE=16
// compile: HEADS=9 KV_HEADS=3 HEAD=64 BLOCK_SIZE=16
#include "common.cuh"

#define HALF (HEAD / 2)
#define PARTS (HALF / VEC)
#define ALL_HEADS (HEADS + 2 * KV_HEADS)

__device__ __forceinline__ void load_fp32(const float *from, float (&x)[VEC]) {
#pragma unroll
    for (int i = 0; i < VEC; i += 4) {
        float4 four = *reinterpret_cast<const float4 *>(from + i);
        x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
    }
}

// The same VEC elements of both halves of a head: low and high with their angles' cos and sin.
__device__ __forceinline__ void rotate(uint4 &low, uint4 &high, const float *cos,
                                       const float *sin) {
    float a[VEC], b[VEC], c[VEC], s[VEC], turned_a[VEC], turned_b[VEC];
    widen_vec(low, a);
    widen_vec(high, b);
    load_fp32(cos, c);
    load_fp32(sin, s);
#pragma unroll
    for (int i = 0; i < VEC; i++) {
        turned_a[i] = a[i] * c[i] - b[i] * s[i];
        turned_b[i] = b[i] * c[i] + a[i] * s[i];
    }
    low = narrow_vec(turned_a);
    high = narrow_vec(turned_b);
}

// Where a head of a token goes; null if it is a key or value without a slot.
__device__ __forceinline__ elem *destination(int token, int head, long long slot, elem *q,
                                             elem *k_cache, elem *v_cache) {
    if (head < HEADS) return q + ((long long)token * HEADS + head) * HEAD;
    if (slot < 0) return nullptr;
    int kv_head = (head - HEADS) % KV_HEADS;
    long long row = (slot / BLOCK_SIZE * KV_HEADS + kv_head) * BLOCK_SIZE + slot % BLOCK_SIZE;
    return (head < HEADS + KV_HEADS ? k_cache : v_cache) + row * HEAD;
}

extern "C" __global__ void rope_append(const elem *__restrict__ qkv,
                                       const float *__restrict__ cos,
                                       const float *__restrict__ sin,
                                       const long long *__restrict__ positions,
                                       const long long *__restrict__ slots,
                                       elem *__restrict__ k_cache, elem *__restrict__ v_cache,
                                       elem *__restrict__ q, int tokens) {
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    int part = item % PARTS * VEC, head = item / PARTS % ALL_HEADS;
    int token = item / (PARTS * ALL_HEADS);
    if (token >= tokens) return;
    elem *to = destination(token, head, slots[token], q, k_cache, v_cache);
    if (!to) return;
    const elem *from = qkv + ((long long)token * ALL_HEADS + head) * HEAD + part;
    uint4 low = *reinterpret_cast<const uint4 *>(from);
    uint4 high = *reinterpret_cast<const uint4 *>(from + HALF);
    if (head < HEADS + KV_HEADS) {
        long long angle = positions[token] * HALF + part;
        rotate(low, high, cos + angle, sin + angle);
    }
    *reinterpret_cast<uint4 *>(to + part) = low;
    *reinterpret_cast<uint4 *>(to + HALF + part) = high;
}
