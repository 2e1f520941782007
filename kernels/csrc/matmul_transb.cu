// matmul_transb: out[tokens, n] = x[tokens, k] · w[n, k]ᵀ for many tokens.
//
// Bound by arithmetic, 2·tokens·n·k operations. A block makes one tile of ROWS rows of w and TOKENS
// tokens; steps of 64 numbers of k of both come through STAGES stages of shared memory. A warp makes
// WARP_ROWS x WARP_TOKENS of the tile. With PARTS the sums of each part of k are added to a total,
// as matmul.cuh says: the same bits as matmul_few, for twice the registers.
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
// compile: TOKENS=128 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=0 COMPUTE_F16=0
// compile: TOKENS=128 WARP_ROWS=64 WARP_TOKENS=64 STAGES=3 PARTS=0 EPILOGUE=2 COMPUTE_F16=0
// compile: TOKENS=128 WARP_ROWS=64 WARP_TOKENS=32 STAGES=3 PARTS=1 EPILOGUE=1 COMPUTE_F16=0
// compile: TOKENS=64 WARP_ROWS=32 WARP_TOKENS=64 STAGES=4 PARTS=1 EPILOGUE=2 COMPUTE_F16=0
// compile: TOKENS=32 WARP_ROWS=32 WARP_TOKENS=32 STAGES=4 PARTS=1 EPILOGUE=3 COMPUTE_F16=0
// compile: TOKENS=128 WARP_ROWS=64 WARP_TOKENS=32 STAGES=3 PARTS=1 EPILOGUE=0 COMPUTE_F16=1
#include "matmul.cuh"

#if DTYPE == F32
#error "w in fp16 or bf16: fp32 is matmul_f32.cu's"
#endif

#define ROWS 128
#define STEP 64
#define CHUNKS (STEP / VEC)
#define WARPS_DOWN (ROWS / WARP_ROWS)
#define WARPS_ACROSS (TOKENS / WARP_TOKENS)
#define THREADS (WARP * WARPS_DOWN * WARPS_ACROSS)
#define STRIPS (WARP_ROWS / STRIP)
#define OCTETS (WARP_TOKENS / OCTET)
// Rows of the result that a tile makes: with GATED two rows of w make one.
#define OUT_ROWS (EPILOGUE == GATED ? ROWS / 2 : ROWS)
// Of a row of sums in shared memory, in floats: four lanes' tokens fall on different banks.
#define SUM_STRIDE (OUT_ROWS + 4)
// Token tiles that run side by side: their blocks share rows of w in L2, and few enough of them
// that the rows of x stay there too.
#define SIDE_BY_SIDE 16
#define STAGE_VECTORS ((ROWS + TOKENS) * CHUNKS)

// A row of a stage is 8 vectors. Odd rows have their halves swapped, so that two rows' blocks of
// four vectors, which eight lanes read together, lie on different banks.
__device__ __forceinline__ int place(int row, int chunk) {
    return row * CHUNKS + (chunk ^ row % 2 * 4);
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

// Starts the copies of one step into a stage.
__device__ __forceinline__ void copy(uint4 *stage, const elem *x, const elem *w, int row_tile,
                                     int token_tile, int step, int tokens, int n, int k) {
    const int chunk = threadIdx.x % CHUNKS, column = step * STEP + chunk * VEC;
    const bool real = column < k;
#pragma unroll
    for (int row = threadIdx.x / CHUNKS; row < ROWS; row += THREADS / CHUNKS) {
        const int strip = row_tile * (ROWS / STRIP) + row / STRIP;
        const int from = min(octet_row(strip, row / OCTET % 2, n) + row % OCTET, n - 1);
        cp_async_16_or_zero(stage + place(row, chunk), w + (long long)from * k + column, real);
    }
#pragma unroll
    for (int row = threadIdx.x / CHUNKS; row < TOKENS; row += THREADS / CHUNKS) {
        const int from = min(token_tile * TOKENS + row, tokens - 1);
        cp_async_16_or_zero(stage + ROWS * CHUNKS + place(row, chunk),
                            x + (long long)from * k + column, real);
    }
}

// One step of this warp's part of the tile.
__device__ __forceinline__ void multiply_step(Sums (&sums)[STRIPS][OCTETS], const uint4 *stage,
                                              int warp_row, int warp_token) {
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const uint4 *w_rows = stage + warp_row * CHUNKS;
    const uint4 *x_rows = stage + (ROWS + warp_token) * CHUNKS;
#pragma unroll
    for (int block = 0; block < STEP / BLOCK; block++) {
        const int at = place(g, block * 4 + t);
        uint4 v[STRIPS][2];
#pragma unroll
        for (int i = 0; i < 2 * STRIPS; i++) v[i / 2][i % 2] = w_rows[at + i * OCTET * CHUNKS];
#pragma unroll
        for (int octet = 0; octet < OCTETS; octet++) {
            const uint4 tokens = x_rows[at + octet * OCTET * CHUNKS];
#pragma unroll
            for (int i = 0; i < 2 * STRIPS; i++)
                multiply(sums[i % STRIPS][octet], v[i % STRIPS][0], v[i % STRIPS][1], tokens,
                         i / STRIPS);
        }
    }
}

#if PARTS
typedef float4 Total;
#else
typedef Sums Total;
#endif

__device__ __forceinline__ float4 widened(const float4 &total) { return total; }

// A part of k is done: what it came to is added, and the next part starts at zero.
__device__ __forceinline__ void add_part(float4 (&totals)[STRIPS][OCTETS],
                                         Sums (&sums)[STRIPS][OCTETS]) {
#pragma unroll
    for (int i = 0; i < STRIPS * OCTETS; i++) {
        const float4 v = widened(sums[i / OCTETS][i % OCTETS]);
        float4 &total = totals[i / OCTETS][i % OCTETS];
        total = make_float4(total.x + v.x, total.y + v.y, total.z + v.z, total.w + v.w);
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

// Eight sums to eight neighbours of a row of the result.
__device__ __forceinline__ void put_octet(result *out, const float *sums) {
    float4 low = ((const float4 *)sums)[0], high = ((const float4 *)sums)[1];
#if EPILOGUE == STORE || EPILOGUE == GATED
    const float v[VEC] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    *(uint4 *)out = narrow_vec(v);
#else
    float4 *to = (float4 *)out;
#if EPILOGUE == RESIDUAL
    const float4 a = to[0], b = to[1];
    low = make_float4(a.x + low.x, a.y + low.y, a.z + low.z, a.w + low.w);
    high = make_float4(b.x + high.x, b.y + high.y, b.z + high.z, b.w + high.w);
#endif
    to[0] = low, to[1] = high;
#endif
}

// The tile to the result; octet by octet where all rows of it are aligned.
__device__ __forceinline__ void write(const float *tile, result *out, int row_tile, int token_tile,
                                      int tokens, int width) {
    for (int i = threadIdx.x; i < TOKENS * OUT_ROWS / OCTET; i += THREADS) {
        const int row = i % (OUT_ROWS / OCTET) * OCTET, token = i / (OUT_ROWS / OCTET);
        const int column = row_tile * OUT_ROWS + row, m = token_tile * TOKENS + token;
        if (m >= tokens) continue;
        const float *sums = tile + token * SUM_STRIDE + row;
        result *to = out + (long long)m * width + column;
        if (width % OCTET == 0) {
            if (column < width) put_octet(to, sums);
        } else {
            for (int j = 0; j < min(OCTET, width - column); j++) put(to + j, sums[j]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_transb(const elem *x, const elem *w, result *out, int tokens, int n, int k, int part) {
    extern __shared__ uint4 shared[];
    const int warp = threadIdx.x / WARP, steps = (k + STEP - 1) / STEP;
    const int warp_row = warp % WARPS_DOWN * WARP_ROWS;
    const int warp_token = warp / WARPS_DOWN * WARP_TOKENS;
    int row_tile, token_tile;
    locate(tokens, (width_of(n) + OUT_ROWS - 1) / OUT_ROWS, row_tile, token_tile);
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps)
            copy(shared + step * STAGE_VECTORS, x, w, row_tile, token_tile, step, tokens, n, k);
        cp_async_commit();
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
    int stage = 0;
    for (int step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        // into the stage that was read in the step before
        if (step + STAGES - 1 < steps)
            copy(shared + (stage == 0 ? STAGES - 1 : stage - 1) * STAGE_VECTORS, x, w, row_tile,
                 token_tile, step + STAGES - 1, tokens, n, k);
        cp_async_commit();
        multiply_step(sums, shared + stage * STAGE_VECTORS, warp_row, warp_token);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
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
