// matmul_few: out[tokens, n] = x[tokens, k] · w[n, k]ᵀ for at most TOKENS (8, 16, 32 or 64) tokens.
//
// Bound by reading w once: 2·n·k bytes. A block takes groups of STRIPS strips of w (16 rows each),
// one after the other; each of its warps sums one part of k. A warp's weights come through a ring
// in shared memory, STAGES steps of 2 KB, in which a lane copies only what it will read itself: no
// lane waits for another, and the copies of the next strip are under way while this one is added
// up. x comes from L2, or with NORM from shared memory, where each block norms it for itself.
//
//   x      elem[tokens, k]; with NORM fp32[tokens, k], and norm fp32[k]
//   w      elem[n, k], 16-byte aligned, k a multiple of 8
//   out    see matmul.cuh; with ROPE elem[tokens, heads, HEAD] for the queries of w's
//          n = (heads + 2·kv_heads)·HEAD rows; cos and sin fp32[P, HEAD/2], positions and slots
//          int64[tokens], k_cache and v_cache elem[blocks, kv_heads, BLOCK_SIZE, HEAD]; a
//          negative slot is written nowhere. HEAD is a multiple of 16
//   grid   any: blocks take every gridDim-th group
//   block  32 threads for each part of k, at most 512; dynamic shared memory: see
//          FewShape in kernels/cuda/products.py
//
// dtypes: f16 bf16
// compile: TOKENS=8 EPILOGUE=4 NORM=1 STAGES=4 ROUND=1 COMPUTE_F16=0 HEAD=64 BLOCK_SIZE=16
// compile: TOKENS=8 EPILOGUE=2 NORM=1 STAGES=4 ROUND=1 COMPUTE_F16=0
// compile: TOKENS=8 EPILOGUE=1 NORM=0 STAGES=4 ROUND=1 COMPUTE_F16=0
// compile: TOKENS=16 EPILOGUE=0 NORM=0 STAGES=3 ROUND=2 COMPUTE_F16=0
// compile: TOKENS=32 EPILOGUE=3 NORM=0 STAGES=4 ROUND=4 COMPUTE_F16=0
// compile: TOKENS=64 EPILOGUE=4 NORM=0 STAGES=4 ROUND=4 COMPUTE_F16=0 HEAD=128 BLOCK_SIZE=16
// compile: TOKENS=64 EPILOGUE=2 NORM=0 STAGES=2 ROUND=1 COMPUTE_F16=0
// compile: TOKENS=32 EPILOGUE=0 NORM=0 STAGES=4 ROUND=4 COMPUTE_F16=1
#include "matmul.cuh"

#if DTYPE == F32
#error "w in fp16 or bf16: fp32 is matmul_f32.cu's"
#endif

#define OCTETS (TOKENS / OCTET)
#define STRIPS (TOKENS > 16 ? 2 : 1)
// A step: what a warp copies at once, STRIPS strips of STEP numbers: four vectors for each lane.
#define STEP (PART_UNIT / STRIPS)
#define BLOCKS (STEP / BLOCK)
#define VECTORS 4
// Octets of tokens whose x a warp holds at a time: beside 64 tokens' sums there is no room for more.
#define HELD (OCTETS > 4 ? 2 : OCTETS)
// Fragments (a strip and 8 tokens) that are added up between two barriers: ROUND.
#define FRAGMENTS (STRIPS * OCTETS)

#if NORM
typedef float input;
#else
typedef elem input;
#endif

struct Output {
    result *out;
    int tokens, n;
#if EPILOGUE == ROPE
    const float *cos, *sin;
    const long long *positions, *slots;
    elem *k_cache, *v_cache;
    int heads, kv_heads;
#endif
};

// One warp's weights on their way, as one of its lanes sees them.
struct Stream {
    uint4 *ring;  // [STAGES][VECTORS][WARP], at this lane
    const elem *w;
    int n, k;
    int group, step;          // what is copied next
    int groups, first, last;  // steps of this warp's part of k
    int stage;                // that is read next

    __device__ __forceinline__ void copy(int into) {
        const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
        if (group < groups) {
#pragma unroll
            for (int half = 0; half < 2 * STRIPS; half++) {
                const int row = octet_row(group * STRIPS + half / 2, half % 2, n) + g;
                const elem *from = w + (long long)min(row, n - 1) * k;
#pragma unroll
                for (int block = 0; block < BLOCKS; block++) {
                    const int column = step * STEP + block * BLOCK + t * VEC;
                    uint4 *to = ring + ((into * BLOCKS + block) * 2 * STRIPS + half) * WARP;
                    cp_async_16_or_zero(to, from + column, column < k);
                }
            }
            if (++step == last) {
                step = first;
                group += gridDim.x;
            }
        }
        cp_async_commit();
    }

    __device__ __forceinline__ void start() {
        stage = 0;
        for (int i = 0; i < STAGES - 1; i++) copy(i);
    }

    // The next step's vectors. The copy that this starts goes where the step before was read.
    __device__ __forceinline__ void next(uint4 (&v)[BLOCKS][2 * STRIPS]) {
        cp_async_wait<STAGES - 2>();
#pragma unroll
        for (int i = 0; i < VECTORS; i++)
            v[i / (2 * STRIPS)][i % (2 * STRIPS)] = ring[(stage * VECTORS + i) * WARP];
        copy(stage == 0 ? STAGES - 1 : stage - 1);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
};

// A step of x at this lane: numbers 8t.. of each block, of token g of HELD octets. Tokens that do
// not exist repeat the last one; their sums are dropped.
__device__ __forceinline__ void load_tokens(uint4 (&tile)[BLOCKS][HELD], const elem *x, int stride,
                                            int tokens, int k, int start, int first_octet) {
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < BLOCKS * HELD; i++) {
        const int column = start + i / HELD * BLOCK + t * VEC;
        const int token = min((first_octet + i % HELD) * OCTET + g, tokens - 1);
        uint4 &v = tile[i / HELD][i % HELD];
        // what NORM made is filled up with zeros
        if (NORM || column < k)
            v = *(const uint4 *)(x + token * stride + column);
        else
            v = make_uint4(0, 0, 0, 0);
    }
}

#if NORM
// RMSNorm of fp32 x[tokens, k] into elem to[tokens, stride], zeros from k to the next multiple of
// 64. `scratch` holds TOKENS floats for each warp. Ends with a barrier.
__device__ __forceinline__ void normalise(const float *x, const float *norm, float eps, elem *to,
                                          int stride, int tokens, int k, float *scratch) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    float squares[TOKENS];
#pragma unroll
    for (int token = 0; token < TOKENS; token++) squares[token] = 0;
    for (int column = threadIdx.x * 4; column < k; column += blockDim.x * 4) {
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            if (token >= tokens) continue;
            const float4 v = *(const float4 *)(x + token * k + column);
            squares[token] += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
        }
    }
#pragma unroll
    for (int token = 0; token < TOKENS; token++) {
        if (token >= tokens) continue;
        const float sum = warp_sum(squares[token]);
        if (lane == 0) scratch[warp * TOKENS + token] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int token = 0; token < TOKENS; token++) {
        if (token >= tokens) continue;
        const float sum = warp_sum(lane < warps ? scratch[lane * TOKENS + token] : 0);
        squares[token] = rsqrtf(sum / k + eps);
    }
    const int padded = (k + PART_UNIT - 1) / PART_UNIT * PART_UNIT;
    for (int column = threadIdx.x * 4; column < padded; column += blockDim.x * 4) {
        const bool real = column < k;
        const float4 scale = real ? *(const float4 *)(norm + column) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            if (token >= tokens) continue;
            const float4 v =
                real ? *(const float4 *)(x + token * k + column) : make_float4(0, 0, 0, 0);
            const float root = squares[token];
            *(uint2 *)(to + token * stride + column) =
                make_uint2(narrow_pair(v.x * root * scale.x, v.y * root * scale.y),
                           narrow_pair(v.z * root * scale.z, v.w * root * scale.w));
        }
    }
    __syncthreads();
}
#endif

// The sums of one token and row g of both octets of a strip.
__device__ __forceinline__ void finish(const Output &to, int strip, int token, float low,
                                       float high) {
    const int g = threadIdx.x % WARP / 4;
    if (token >= to.tokens) return;
#if EPILOGUE == ROPE
    const int row = octet_row(strip, 0, to.n) + g, head = row / HEAD, d = row % HEAD;
    if (row >= to.n) return;
    if (head < to.heads + to.kv_heads) {
        const long long angle = to.positions[token] * (HEAD / 2) + d;
        const float c = to.cos[angle], s = to.sin[angle], x = low;
        low = x * c - high * s;
        high = high * c + x * s;
    }
    elem *at = to.out + ((long long)token * to.heads + head) * HEAD;
    if (head >= to.heads) {
        const long long slot = to.slots[token];
        if (slot < 0) return;
        const bool is_key = head < to.heads + to.kv_heads;
        const int kv_head = head - to.heads - (is_key ? 0 : to.kv_heads);
        const long long place = (slot / BLOCK_SIZE * to.kv_heads + kv_head) * BLOCK_SIZE;
        at = (is_key ? to.k_cache : to.v_cache) + (place + slot % BLOCK_SIZE) * HEAD;
    }
    at[d] = narrow(low);
    at[d + HEAD / 2] = narrow(high);
#else
    put_pair(to.out, strip, g, token, to.n, low, high);
#endif
}

// Adds up the parts of a group of strips, in order, through shared partial[2][warps][ROUND][WARP],
// of which rounds use one half and the other by turns: one barrier a round is enough. A fragment
// is added up by one warp, each time another.
__device__ __forceinline__ void add_parts(const Sums (&sums)[STRIPS][OCTETS], float4 *partial,
                                          int group, int &turn, const Output &to) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
#pragma unroll
    for (int start = 0; start < FRAGMENTS; start += ROUND) {
        float4 *mine = partial + turn % 2 * warps * ROUND * WARP + lane;
#pragma unroll
        for (int i = 0; i < ROUND; i++)
            mine[(warp * ROUND + i) * WARP] =
                widened(sums[(start + i) / OCTETS][(start + i) % OCTETS]);
        __syncthreads();
        for (int i = (warp + turn) % warps; i < ROUND; i += warps) {
            const int strip = group * STRIPS + (start + i) / OCTETS;
            const int token = (start + i) % OCTETS * OCTET + lane % 4 * 2;
            float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 4
            for (int part = 0; part < warps; part++) {
                const float4 v = mine[(part * ROUND + i) * WARP];
                total = make_float4(total.x + v.x, total.y + v.y, total.z + v.z, total.w + v.w);
            }
            finish(to, strip, token, total.x, total.z);
            finish(to, strip, token + 1, total.y, total.w);
        }
        turn++;
    }
}

extern "C" __global__ void __launch_bounds__(512, 1)
    matmul_few(const input *x, const float *norm, float eps, const elem *w, result *out,
               int tokens, int n, int k
#if EPILOGUE == ROPE
               ,
               const float *cos, const float *sin, const long long *positions,
               const long long *slots, elem *k_cache, elem *v_cache, int heads, int kv_heads
#endif
    ) {
    extern __shared__ uint4 shared[];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const int units = (k + PART_UNIT - 1) / PART_UNIT, part = (units + warps - 1) / warps;
    const int groups = (strips_of(n) + STRIPS - 1) / STRIPS;
    const int first = warp * part * STRIPS, last = min(warp * part + part, units) * STRIPS;
    Stream weights = {shared + warp * STAGES * VECTORS * WARP + lane, w, n, k};
    weights.group = blockIdx.x, weights.groups = groups;
    weights.step = weights.first = first, weights.last = last;
    weights.start();

    float4 *partial = (float4 *)(shared + warps * STAGES * VECTORS * WARP);
#if NORM
    elem *rows = (elem *)(partial + 2 * warps * ROUND * WARP);
    const int stride = units * PART_UNIT + BLOCK;
    normalise(x, norm, eps, rows, stride, tokens, k, (float *)partial);
#else
    const elem *rows = x;
    const int stride = k;
#endif
#if EPILOGUE == ROPE
    const Output to = {out,   tokens,  n,       cos,   sin,     positions,
                       slots, k_cache, v_cache, heads, kv_heads};
#else
    const Output to = {out, tokens, n};
#endif

    int turn = 0;
    for (int group = blockIdx.x; group < groups; group += gridDim.x) {
        Sums sums[STRIPS][OCTETS];
#pragma unroll
        for (int i = 0; i < FRAGMENTS; i++) clear(sums[i / OCTETS][i % OCTETS]);
        for (int step = first; step < last; step++) {
            uint4 v[BLOCKS][2 * STRIPS], tile[BLOCKS][HELD];
            load_tokens(tile, rows, stride, tokens, k, step * STEP, 0);
            weights.next(v);
#pragma unroll
            for (int held = 0; held < OCTETS; held += HELD) {
                if (held) load_tokens(tile, rows, stride, tokens, k, step * STEP, held);
#pragma unroll
                for (int i = 0; i < BLOCKS * 2 * HELD * STRIPS; i++) {
                    const int strip = i % STRIPS, octet = i / STRIPS % HELD;
                    const int half = i / STRIPS / HELD % 2, block = i / STRIPS / HELD / 2;
                    multiply(sums[strip][held + octet], v[block][2 * strip],
                             v[block][2 * strip + 1], tile[block][octet], half);
                }
            }
        }
        add_parts(sums, partial, group, turn, to);
    }
}
