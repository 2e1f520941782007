// matvec: out[n] = x[k] · w[n, k]ᵀ for one token.
//
// Bound by reading w once: 2·n·k bytes. Rows go in units of two, those that one epilogue needs
// together, shared out evenly among the blocks. A unit is cut into segments of k, which go round a
// block's warps in turn. A lane keeps LOADS vectors of each row of a segment in registers; where it
// has read one it asks for that of its next segment: as many bytes as at the start are on their way
// until the end. Sums wait in shared memory and are put out together.
//
// x stays fp32. With NORM the norm's weight multiplies it, and the root, known later, the sums.
//
//   x      elem[COLUMNS]; with NORM fp32[COLUMNS], and norm fp32[COLUMNS]
//   w      elem[n, COLUMNS], 16-byte aligned; COLUMNS, which is k, is a multiple of 8
//   out    see matmul.cuh, and for ROPE matmul_few.cu
//   grid   at most a block for each unit; best one for each multiprocessor
//   block  32 · WARPS, at most 512; dynamic shared memory: see kernels/cuda/matvec.py
//
// dtypes: f16 bf16
// compile: EPILOGUE=4 NORM=1 COLUMNS=4096 WARPS=16 LOADS=4 HEAD=128 BLOCK_SIZE=16
// compile: EPILOGUE=2 NORM=1 COLUMNS=2048 WARPS=16 LOADS=4
// compile: EPILOGUE=1 NORM=0 COLUMNS=14336 WARPS=16 LOADS=4
// compile: EPILOGUE=0 NORM=0 COLUMNS=2560 WARPS=16 LOADS=5
// compile: EPILOGUE=3 NORM=1 COLUMNS=576 WARPS=16 LOADS=3
#include "matmul.cuh"

#if DTYPE == F32
#error "w in fp16 or bf16: fp32 is matmul_f32.cu's"
#endif

#define THREADS (WARPS * WARP)
#define ROW_VECS (COLUMNS / VEC)
#define SEGMENT_VECS (LOADS * WARP)
#define SEGMENTS ((ROW_VECS + SEGMENT_VECS - 1) / SEGMENT_VECS)
#define PADDED_VECS (SEGMENTS * SEGMENT_VECS)
// Pieces of 16 bytes of x that a thread fetches, and how many at a time.
#define PIECES_PER_VEC (NORM ? 2 : 1)
#define PIECES ((PADDED_VECS * PIECES_PER_VEC + THREADS - 1) / THREADS)
#define HELD (PIECES < 4 ? PIECES : 4)

#if NORM
typedef float input;
#else
typedef elem input;
#endif

__device__ __forceinline__ uint4 load_or_zero(const void *from, bool there) {
    return there ? load_stream(from) : make_uint4(0, 0, 0, 0);
}

__device__ __forceinline__ float4 as_floats(const uint4 &v) {
    return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z),
                       __uint_as_float(v.w));
}

__device__ __forceinline__ int units_of(int n) { return EPILOGUE == GATED ? n / 2 : (n + 1) / 2; }

// Pairs that are rotated together; a gate and its number; else neighbours.
__device__ __forceinline__ int first_row(int unit) {
#if EPILOGUE == ROPE
    return unit / (HEAD / 2) * HEAD + unit % (HEAD / 2);
#else
    return EPILOGUE == GATED ? unit : 2 * unit;
#endif
}

// A last row without a neighbour is its own.
__device__ __forceinline__ int second_row(int unit, int n) {
#if EPILOGUE == ROPE
    return first_row(unit) + HEAD / 2;
#else
    return EPILOGUE == GATED ? unit + n / 2 : min(2 * unit + 1, n - 1);
#endif
}

// Some pieces of x on their way to shared memory: of each eight numbers the first four go to one
// half, the others to the other, so that lanes that read 16 bytes side by side meet no conflict.
// Zeros fill up the last segment.
struct Pieces {
    uint4 x[HELD];
#if NORM
    uint4 scale[HELD];
#endif

    __device__ __forceinline__ void fetch(const input *from, const float *norm, int start) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int piece = (start + i) * THREADS + threadIdx.x;
            const bool there = piece < ROW_VECS * PIECES_PER_VEC;
            x[i] = load_or_zero((const uint4 *)from + piece, there);
#if NORM
            scale[i] = load_or_zero((const uint4 *)norm + piece, there);
#endif
        }
    }

    // Returns the sum of the squares that NORM needs.
    __device__ __forceinline__ float put(float4 *to, int start) const {
        float squares = 0;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int piece = (start + i) * THREADS + threadIdx.x;
            if (piece >= PADDED_VECS * PIECES_PER_VEC) continue;
#if NORM
            const float4 v = as_floats(x[i]), s = as_floats(scale[i]);
            squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
            to[piece % 2 * PADDED_VECS + piece / 2] =
                make_float4(v.x * s.x, v.y * s.y, v.z * s.z, v.w * s.w);
#else
            float wide[VEC];
            widen_vec(x[i], wide);
            to[piece] = make_float4(wide[0], wide[1], wide[2], wide[3]);
            to[PADDED_VECS + piece] = make_float4(wide[4], wide[5], wide[6], wide[7]);
#endif
        }
        return squares;
    }
};

// The segments of one warp, as one of its lanes sees them.
struct Stream {
    const elem *w;
    int n, unit, segments;              // the block's first unit; its segments
    uint4 first[LOADS], second[LOADS];  // vectors of the two rows, of the segment below
    int segment;                        // the latest that was asked for
    const elem *rows[2];                // at its start, for this lane
    int vecs;                           // that a row has from there on

    __device__ __forceinline__ void aim(int at) {
        segment = at;
        const int start = at % SEGMENTS * SEGMENT_VECS + threadIdx.x % WARP;
        const int of = unit + at / SEGMENTS;
        rows[0] = w + (long long)first_row(of) * COLUMNS + start * VEC;
        rows[1] = w + (long long)second_row(of, n) * COLUMNS + start * VEC;
        vecs = at < segments ? ROW_VECS - start : 0;
    }

    __device__ __forceinline__ void ask(int i) {
        const bool there = COLUMNS % (SEGMENT_VECS * VEC) ? i * WARP < vecs : vecs > 0;
        first[i] = load_or_zero((const uint4 *)rows[0] + i * WARP, there);
        second[i] = load_or_zero((const uint4 *)rows[1] + i * WARP, there);
    }

    __device__ __forceinline__ void start() {
        aim(threadIdx.x / WARP);
#pragma unroll
        for (int i = 0; i < LOADS; i++) ask(i);
    }

    // This lane's part of the sums of the segment that has come; asks for the next one.
    __device__ __forceinline__ float2 multiply(const float4 *x) {
        const float4 *low = x + segment % SEGMENTS * SEGMENT_VECS + threadIdx.x % WARP;
        float2 sums[2] = {make_float2(0, 0), make_float2(0, 0)};
        aim(segment + WARPS);
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            const float4 l = low[i * WARP], h = low[PADDED_VECS + i * WARP];
            const float in[VEC] = {l.x, l.y, l.z, l.w, h.x, h.y, h.z, h.w};
            float a[VEC], b[VEC];
            widen_vec(first[i], a);
            widen_vec(second[i], b);
            ask(i);
#pragma unroll
            for (int e = 0; e < VEC; e++) {
                sums[e % 2].x += a[e] * in[e];
                sums[e % 2].y += b[e] * in[e];
            }
        }
        return make_float2(sums[0].x + sums[1].x, sums[0].y + sums[1].y);
    }
};

// Where sums go, and what they meet there: asked for before the product.
struct Output {
    result *out;
    int n;
#if EPILOGUE == RESIDUAL
    float before[2];
#elif EPILOGUE == ROPE
    const float *cosines, *sines;
    const long long *positions, *slots;
    elem *k_cache, *v_cache;
    int heads, kv_heads;
    long long position, slot;
    float cos, sin;
#endif

    __device__ __forceinline__ void begin() {
#if EPILOGUE == ROPE
        position = *positions;
        slot = *slots;
#endif
    }

    __device__ __forceinline__ void prepare(int unit) {
#if EPILOGUE == RESIDUAL
        before[0] = out[first_row(unit)];
        before[1] = out[second_row(unit, n)];
#elif EPILOGUE == ROPE
        const long long angle = position * (HEAD / 2) + unit % (HEAD / 2);
        cos = cosines[angle];
        sin = sines[angle];
#endif
    }

    __device__ __forceinline__ void put(int unit, float first, float second) const {
#if EPILOGUE == GATED
        out[unit] = narrow(silu(first) * second);
#elif EPILOGUE == ROPE
        const int head = unit / (HEAD / 2), d = unit % (HEAD / 2);
        const bool turns = head < heads + kv_heads;
        elem *at = head < heads ? out + head * HEAD : cached(head - heads);
        if (!at) return;
        at[d] = narrow(turns ? first * cos - second * sin : first);
        at[d + HEAD / 2] = narrow(turns ? second * cos + first * sin : second);
#else
        put_one(2 * unit, first, 0);
        if (2 * unit + 1 < n) put_one(2 * unit + 1, second, 1);
#endif
    }

#if EPILOGUE == ROPE
    // Where a row of k or, after all those, of v is kept; null if nowhere.
    __device__ __forceinline__ elem *cached(int head) const {
        if (slot < 0) return nullptr;
        const bool is_key = head < kv_heads;
        const long long place = slot / BLOCK_SIZE * kv_heads + head - (is_key ? 0 : kv_heads);
        return (is_key ? k_cache : v_cache) + (place * BLOCK_SIZE + slot % BLOCK_SIZE) * HEAD;
    }
#elif EPILOGUE != GATED
    __device__ __forceinline__ void put_one(int row, float sum, int i) const {
#if EPILOGUE == RESIDUAL
        out[row] = before[i] + sum;
#else
        ::put(out + row, sum);
#endif
    }
#endif
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matvec(const input *x, const float *norm, float eps, const elem *w, result *out, int n
#if EPILOGUE == ROPE
           ,
           const float *cos, const float *sin, const long long *positions, const long long *slots,
           elem *k_cache, elem *v_cache, int heads, int kv_heads
#endif
    ) {
    extern __shared__ float4 inputs[];                       // [2][PADDED_VECS]
    float2 *partial = (float2 *)(inputs + 2 * PADDED_VECS);  // [units][SEGMENTS]
    const u32 each = units_of(n) / gridDim.x, more = units_of(n) % gridDim.x;
    const int first = blockIdx.x * each + min(blockIdx.x, more);
    const int units = each + (blockIdx.x < more);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#if EPILOGUE == ROPE
    Output to = {out, n, cos, sin, positions, slots, k_cache, v_cache, heads, kv_heads};
#else
    Output to = {out, n};
#endif
    to.begin();
    Pieces pieces;
    pieces.fetch(x, norm, 0);
    __syncthreads();  // the weights of one warp must not stand before the x of another
    Stream weights = {w, n, first, units * SEGMENTS};
    weights.start();
    float square = pieces.put(inputs, 0);
#pragma unroll
    for (int start = HELD; start < PIECES; start += HELD) {
        pieces.fetch(x, norm, start);
        square += pieces.put(inputs, start);
    }
    float root = 1;
#if NORM
    __shared__ float squares[WARPS];
    root = rsqrtf(block_sum(square, squares) / COLUMNS + eps);
#else
    __syncthreads();
#endif

    // not before the barrier: for an angle the position must have come
    if (threadIdx.x < units) to.prepare(first + threadIdx.x);
    for (int segment = warp; segment < units * SEGMENTS; segment += WARPS) {
        const float2 sums = weights.multiply(inputs);
        const float2 total = make_float2(warp_sum(sums.x), warp_sum(sums.y));
        if (lane == 0) partial[segment] = total;
    }
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < units; i += THREADS) {
        if (i >= THREADS) {
            to.begin();
            to.prepare(first + i);
        }
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int segment = 0; segment < SEGMENTS; segment++) {
            const float2 part = partial[i * SEGMENTS + segment];
            sum = make_float2(sum.x + part.x, sum.y + part.y);
        }
        to.put(first + i, sum.x * root, sum.y * root);
    }
}
