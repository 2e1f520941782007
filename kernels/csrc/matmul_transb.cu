// matmul_transb: out[tokens, n] = x[tokens, k] · w[n, k]ᵀ for many tokens.
//
// Bound by arithmetic, 2·tokens·n·k operations. A block makes one tile of ROWS rows of w and TOKENS
// tokens; steps of 64 numbers of k of both come through STAGES stages of shared memory. A warp
// makes WARP_ROWS x WARP_TOKENS of the tile, unit by unit of k: while one is multiplied, the next
// comes from shared memory to registers. With PARTS the sums of each part of k are added to a
// total, as matmul.cuh says: the same bits as matmul_few, for twice the registers.
//
//   x      elem[tokens, k], w elem[n, k], both 16-byte aligned, k a multiple of 8
//   out    see matmul.cuh
//   part   steps of 64 in a part of k (PARTS only)
//   grid   row tiles · token tiles, one dimension
//   block  32 · (ROWS / WARP_ROWS) · (TOKENS / WARP_TOKENS) threads
//   shared the larger of STAGES·(ROWS + TOKENS)·128 bytes and TOKENS·(OUT_ROWS + 4)·4 bytes
//   moved  from L2, for each tile: (ROWS + TOKENS)·k·2 bytes
//
// dtypes: f16 bf16
// compile: ROWS=128 TOKENS=256 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=0
// compile: ROWS=128 TOKENS=256 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=1
// compile: ROWS=128 TOKENS=128 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=2
// compile: ROWS=128 TOKENS=128 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=3
// compile: ROWS=64 TOKENS=64 WARP_ROWS=32 WARP_TOKENS=32 STAGES=4 PARTS=0 EPILOGUE=1
// compile: ROWS=128 TOKENS=128 WARP_ROWS=64 WARP_TOKENS=32 STAGES=3 PARTS=1 EPILOGUE=1
// compile: ROWS=128 TOKENS=64 WARP_ROWS=32 WARP_TOKENS=64 STAGES=4 PARTS=1 EPILOGUE=2
// compile: ROWS=128 TOKENS=32 WARP_ROWS=32 WARP_TOKENS=32 STAGES=4 PARTS=1 EPILOGUE=3
// compile: ROWS=128 TOKENS=64 WARP_ROWS=32 WARP_TOKENS=64 STAGES=4 PARTS=1 EPILOGUE=0 COMPUTE_F16=1
#include "matmul.cuh"

#if DTYPE == F32
#error "w in fp16 or bf16: fp32 is matmul_f32.cu's"
#endif

#define STEP 64
#define CHUNKS (STEP / VEC)
#define WARPS_DOWN (ROWS / WARP_ROWS)
#define WARPS_ACROSS (TOKENS / WARP_TOKENS)
#define THREADS (WARP * WARPS_DOWN * WARPS_ACROSS)
#define STRIPS (WARP_ROWS / STRIP)
#define OCTETS (WARP_TOKENS / OCTET)
// A step is made in so many units, of which as many are read ahead as there are registers for.
#define UNITS (PARTS ? STEP / BLOCK : STEP / 16)
#define AHEAD (PARTS ? 0 : 1)
// Rows of the result that a tile makes: with GATED two rows of w make one.
#define OUT_ROWS (EPILOGUE == GATED ? ROWS / 2 : ROWS)
// Of a row of sums in shared memory, in floats: four lanes' tokens fall on different banks.
#define SUM_STRIDE (OUT_ROWS + 4)
// Token tiles that run side by side: their blocks share rows of w in L2, and few enough of them
// that the rows of x stay there too.
#define SIDE_BY_SIDE (2048 / TOKENS)
// A stage holds rows of w, then those of x. In each pass all threads together copy COPIED of them.
#define STAGE_VECTORS ((ROWS + TOKENS) * CHUNKS)
#define COPIED (THREADS / CHUNKS)
#define PASSES ((ROWS + TOKENS) / COPIED)

// A row of a stage is 8 vectors, in such an order that eight lanes meet eight different banks,
// whether they read one column of eight rows, as ldmatrix does, or four columns of two.
__device__ __forceinline__ int place(int row, int chunk) {
    return row * CHUNKS + (chunk ^ (row % 2 * 4 + row % 8 / 2));
}

// Which tile this block makes: all token tiles of a band of SIDE_BY_SIDE for one row tile, then
// the next row tile.
__device__ __forceinline__ void locate(int tokens, int row_tiles, int &row_tile, int &token_tile) {
    const int token_tiles = (tokens + TOKENS - 1) / TOKENS;
    const int band = blockIdx.x / (SIDE_BY_SIDE * row_tiles), first = band * SIDE_BY_SIDE;
    const int width = min(SIDE_BY_SIDE, token_tiles - first);
    const int index = blockIdx.x - first * row_tiles;
    row_tile = index / width;
    token_tile = first + index % width;
}

// One vector of every `distance`-th row of w or x, as a thread copies them step by step.
struct Source {
    const elem *next;
    long long stride;
    int rows;

    __device__ __forceinline__ Source(const elem *matrix, int first, int distance, int end, int k)
        : next(matrix + (long long)first * k + threadIdx.x % CHUNKS * VEC),
          stride((long long)distance * k),
          rows((end - first + distance - 1) / distance) {}
};

// The copies of a thread. What lies outside of w or x becomes zero.
struct Copies {
    Source w, x;
    int left;  // numbers of k
    int at;    // in a stage, of the first pass

    // Some of a step's passes.
    __device__ __forceinline__ void start(uint4 *stage, int first, int end) const {
#pragma unroll
        for (int pass = first; pass < end; pass++) {
            const Source &from = pass < ROWS / COPIED ? w : x;
            const int row = pass < ROWS / COPIED ? pass : pass - ROWS / COPIED;
            cp_async_16_or_zero(stage + at + pass * COPIED * CHUNKS,
                                from.next + row * from.stride, left > 0 && row < from.rows);
        }
    }

    // To the next step.
    __device__ __forceinline__ void commit() {
        cp_async_commit();
        w.next += STEP, x.next += STEP, left -= STEP;
    }
};

__device__ __forceinline__ Copies copies(const elem *x, const elem *w, int row_tile, int token_tile,
                                         int tokens, int n, int k) {
    const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    const int strip = row_tile * (ROWS / STRIP) + row / STRIP;
    const int w_row = octet_row(strip, row / OCTET % 2, n) + row % OCTET;
    return {Source(w, w_row, COPIED * OUT_ROWS / ROWS, n, k),
            Source(x, token_tile * TOKENS + row, COPIED, tokens, k), k - chunk * VEC,
            place(row, chunk)};
}

// One unit's operands of a warp.
#if PARTS
// In the order of matmul_few.
struct Unit {
    uint4 w[STRIPS][2], x[OCTETS];

    __device__ __forceinline__ void load(const uint4 *stage, int warp_row, int warp_token,
                                         int unit) {
        const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
        const int at = place(g, unit * 4 + t);
#pragma unroll
        for (int i = 0; i < 2 * STRIPS; i++)
            w[i / 2][i % 2] = stage[warp_row * CHUNKS + at + i * OCTET * CHUNKS];
#pragma unroll
        for (int i = 0; i < OCTETS; i++)
            x[i] = stage[(ROWS + warp_token) * CHUNKS + at + i * OCTET * CHUNKS];
    }

    __device__ __forceinline__ void multiply_into(Sums (&sums)[STRIPS][OCTETS]) const {
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int i = 0; i < STRIPS * OCTETS; i++)
                multiply(sums[i / OCTETS][i % OCTETS], w[i / OCTETS][0], w[i / OCTETS][1],
                         x[i % OCTETS], half);
    }
};
#else
// In the order of ldmatrix, which gives each operand the registers that mma wants it in. Vectors of
// two rows must first be mixed: as many moves as products.
struct Unit {
    u32 w[STRIPS][4], x[OCTETS / 2][4];

    __device__ __forceinline__ void load(const uint4 *stage, int warp_row, int warp_token,
                                         int unit) {
        const int lane = threadIdx.x % WARP;
        const int w_at = place(warp_row + lane % 16, unit * 2 + lane / 16);
        const int x_at =
            place(ROWS + warp_token + lane / 16 * OCTET + lane % 8, unit * 2 + lane / 8 % 2);
#pragma unroll
        for (int i = 0; i < STRIPS; i++) ldmatrix_x4(w[i], stage + w_at + i * STRIP * CHUNKS);
#pragma unroll
        for (int i = 0; i < OCTETS / 2; i++)
            ldmatrix_x4(x[i], stage + x_at + i * 2 * OCTET * CHUNKS);
    }

    __device__ __forceinline__ void multiply_into(Sums (&sums)[STRIPS][OCTETS]) const {
#pragma unroll
        for (int i = 0; i < STRIPS * OCTETS; i++) {
            const u32 *of_two = x[i % OCTETS / 2] + i % 2 * 2;
            const u32 tokens[2] = {of_two[0], of_two[1]};
            multiply(sums[i / OCTETS][i % OCTETS], w[i / OCTETS], tokens);
        }
    }
};
#endif

#if PARTS
typedef float4 Total;
#else
typedef Sums Total;
#endif

__device__ __forceinline__ float4 widened(const float4 &total) { return total; }

__device__ __forceinline__ float4 plus(const float4 &a, const float4 &b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// A part of k is done: what it came to is added, and the next part starts at zero.
__device__ __forceinline__ void add_part(float4 (&totals)[STRIPS][OCTETS],
                                         Sums (&sums)[STRIPS][OCTETS]) {
#pragma unroll
    for (int i = 0; i < STRIPS * OCTETS; i++) {
        const float4 v = widened(sums[i / OCTETS][i % OCTETS]);
        float4 &total = totals[i / OCTETS][i % OCTETS];
        total = plus(total, v);
        clear(sums[i / OCTETS][i % OCTETS]);
    }
}

// This warp's sums into shared tile[TOKENS][SUM_STRIDE], so that rows leave in one piece.
__device__ __forceinline__ void spread(const Total (&totals)[STRIPS][OCTETS], float *tile,
                                       int warp_row, int warp_token) {
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < STRIPS * OCTETS; i++) {
        const float4 v = widened(totals[i / OCTETS][i % OCTETS]);
        float *first = tile + (warp_token + i % OCTETS * OCTET + 2 * t) * SUM_STRIDE + g;
        float *second = first + SUM_STRIDE;
#if EPILOGUE == GATED
        const int row = warp_row / 2 + i / OCTETS * OCTET;
        first[row] = silu(v.x) * v.z, second[row] = silu(v.y) * v.w;
#else
        const int row = warp_row + i / OCTETS * STRIP;
        first[row] = v.x, second[row] = v.y;
        first[row + OCTET] = v.z, second[row + OCTET] = v.w;
#endif
    }
}

// Eight neighbours of a row of the result.
struct Eight {
    float4 low, high;
};

__device__ __forceinline__ void put_eight(result *out, const Eight &v) {
#if EPILOGUE == STORE || EPILOGUE == GATED
    const float values[VEC] = {v.low.x,  v.low.y,  v.low.z,  v.low.w,
                               v.high.x, v.high.y, v.high.z, v.high.w};
    *(uint4 *)out = narrow_vec(values);
#else
    *(Eight *)out = v;
#endif
}

// The tile to the result; octet by octet where all rows of it are aligned.
__device__ __forceinline__ void write(const float *tile, result *out, int row_tile, int token_tile,
                                      int tokens, int width) {
    const int across = OUT_ROWS / OCTET, down = THREADS / across, each = TOKENS / down;
    const int row = threadIdx.x % across * OCTET, column = row_tile * OUT_ROWS + row;
    const int token = threadIdx.x / across, left = tokens - token_tile * TOKENS - token;
    const float *sums = tile + token * SUM_STRIDE + row;
    result *to = out + (long long)(tokens - left) * width + column;
    if (column >= width) return;
    if (width % OCTET != 0) {
        for (int i = 0; i < each && i * down < left; i++)
            for (int j = 0; j < min(OCTET, width - column); j++)
                put(to + (long long)i * down * width + j, sums[i * down * SUM_STRIDE + j]);
        return;
    }
    // first all is read, so that the reads of what is added to are under way together
    Eight v[each];
#pragma unroll
    for (int i = 0; i < each; i++) {
        v[i] = *(const Eight *)(sums + i * down * SUM_STRIDE);
#if EPILOGUE == RESIDUAL
        if (i * down >= left) continue;
        const Eight old = *(const Eight *)(to + (long long)i * down * width);
        v[i].low = plus(old.low, v[i].low), v[i].high = plus(old.high, v[i].high);
#endif
    }
#pragma unroll
    for (int i = 0; i < each; i++)
        if (i * down < left) put_eight(to + (long long)i * down * width, v[i]);
}

// One block: as many registers as it wants, since shared memory leaves no room for many.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matmul_transb(const elem *x, const elem *w, result *out, int tokens, int n, int k, int part) {
    extern __shared__ uint4 shared[];
    const int warp = threadIdx.x / WARP, steps = (k + STEP - 1) / STEP;
    const int warp_row = warp % WARPS_DOWN * WARP_ROWS;
    const int warp_token = warp / WARPS_DOWN * WARP_TOKENS;
    int row_tile, token_tile;
    locate(tokens, (width_of(n) + OUT_ROWS - 1) / OUT_ROWS, row_tile, token_tile);
    Copies next = copies(x, w, row_tile, token_tile, tokens, n, k);
    for (int stage = 0; stage < STAGES - 1; stage++) {
        next.start(shared + stage * STAGE_VECTORS, 0, PASSES);
        next.commit();
    }

    Sums sums[STRIPS][OCTETS];
#pragma unroll
    for (int i = 0; i < STRIPS * OCTETS; i++) clear(sums[i / OCTETS][i % OCTETS]);
#if PARTS
    float4 totals[STRIPS][OCTETS] = {};
    int summed = 0;  // steps of this part of k
#else
    Sums(&totals)[STRIPS][OCTETS] = sums;
#endif
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    Unit units[AHEAD + 1];
    units[0].load(shared, warp_row, warp_token, 0);
    int stage = 0, free = STAGES - 1;
    for (int step = 0; step < steps; step++) {
#pragma unroll
        for (int unit = 0; unit < UNITS; unit++) {
            const bool is_last = unit == UNITS - 1;
            if (is_last) {  // and in registers: its stage is free once the next has come
                cp_async_wait<STAGES - 2>();
                __syncthreads();
                free = stage;
                stage = stage == STAGES - 1 ? 0 : stage + 1;
            }
            if (!AHEAD) units[0].multiply_into(sums);
            units[(unit + 1) % (AHEAD + 1)].load(shared + stage * STAGE_VECTORS, warp_row,
                                                 warp_token, (unit + 1) % UNITS);
            // a few copies at a time, so that no load waits behind all of them
            if (!is_last)
                next.start(shared + free * STAGE_VECTORS, PASSES * unit / (UNITS - 1),
                           PASSES * (unit + 1) / (UNITS - 1));
            if (unit == UNITS - 2) next.commit();
            if (AHEAD) units[unit % 2].multiply_into(sums);
        }
#if PARTS
        summed = summed + 1 == part ? 0 : summed + 1;
        if (summed == 0 || step == steps - 1) add_part(totals, sums);
#endif
    }
    cp_async_wait<0>();
    __syncthreads();
    spread(totals, (float *)shared, warp_row, warp_token);
    __syncthreads();
    write((const float *)shared, out, row_tile, token_tile, tokens, width_of(n));
}
