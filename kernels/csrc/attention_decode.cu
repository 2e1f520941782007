// attention_decode: one query token of each sequence over its paged context, in one launch.
// attention_spans: how contexts are cut for it, once for all layers of a step.
//
// q, out       elem[S, kv_heads * GROUP, HEAD]
// k, v         elem[blocks, kv_heads, 16, HEAD], HEAD a multiple of 16 up to 256
// tables       int[S, width], the blocks of each sequence; entries past its context are not read
// context_lens int[S]; 0 marks a row of padding, for which zeros come out
// spans        Span[1 + spans], the first of which has their number in place of a sequence
// parts        float[tasks, HEADS, HEAD + 4], counters u32[tasks]: scratch; the counters are zero
//              before a launch and after it
// grid         of attention_decode, in blocks
// fixed        whether a context is cut in one way only, see below
// scale        what scores are multiplied by, times log2(e)
// Grid of attention_decode: any number of blocks; dynamic shared memory: WARPS * ROOM floats. Of
// attention_spans: a block for each `rows` sequences, which writes Span[each]. Block: WARPS warps.
// Pointers are 16-byte aligned. HEADS is at most 8.
// Reads 2 * context * kv_heads * HEAD stored numbers a sequence, once for every HEADS query heads
// of a KV head; writes and reads HEAD + 4 floats for each query head of each span.
//
// A context is cut into at most FAN spans of equal length (flash decoding, Dao et al., 2023). A
// task is one span of one sequence for HEADS query heads of one KV head: each warp goes through
// some cache blocks that follow one another, and asks for the next before it computes with one.
// What the warps found is merged into a part; the block that ends the last span of a sequence
// merges its parts, in the order of their positions.
//
// Spans are short where they are few, so that every multiprocessor has one, and longer where there
// are many, so that less is merged: a warp has at least LEAST cache blocks of a span, or all that
// it has to read, and about ROUNDS spans where it reads more, so that all end at about the same
// time. If `fixed`, their length depends on the context alone, and so does the result: not on the
// grid, nor on what else is in the batch.
//
// compile: HEAD=64 GROUP=3 HEADS=3 WARPS=8 BLOCKS=3 FAN=32 ROUNDS=3 LEAST=16
// compile: HEAD=128 GROUP=4 HEADS=4 WARPS=8 BLOCKS=2 FAN=32 ROUNDS=3 LEAST=16
// compile: HEAD=256 GROUP=8 HEADS=8 WARPS=8 BLOCKS=1 FAN=32 ROUNDS=3 LEAST=16
#include "attention_block.cuh"

#define THREADS (WARPS * WARP)
#define TILES ((GROUP + HEADS - 1) / HEADS)

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ __forceinline__ int cache_blocks(int context) { return ceil_div(context, CACHE_BLOCK); }

// At most FAN. An empty context has one span too, for somebody has to write its zeros.
__device__ __forceinline__ int spans_of(int context, int steps) {
    const int blocks = cache_blocks(context);
    return max(1, ceil_div(blocks, WARPS * max(steps, ceil_div(blocks, WARPS * FAN))));
}

// The sum of `own` over the threads before this one, and in `total` over all.
__device__ int sum_before(int own, int &total) {
    __shared__ int warp_sums[WARPS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int sum = own;
#pragma unroll
    for (int distance = 1; distance < WARP; distance *= 2) {
        const int before = __shfl_up_sync(ALL_LANES, sum, distance);
        if (lane >= distance) sum += before;
    }
    __syncthreads();
    if (lane == WARP - 1) warp_sums[warp] = sum;
    __syncthreads();
    int before = sum - own;
    total = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
        if (i < warp) before += warp_sums[i];
        total += warp_sums[i];
    }
    return before;
}

struct __align__(16) Span {
    int sequence;
    int first, count; // of the sequence: the number of its first span, and how many it has
    int context;
};

// Cache blocks that each warp has of a span, unless a context has too few or too many.
__device__ int steps_of(const int *context_lens, int first, int last, int units, int grid) {
    int blocks = 0, total;
#pragma unroll 1
    for (int i = first; i < last; i++) blocks += cache_blocks(context_lens[i]);
    sum_before(blocks, total);
    const int share = ceil_div(total * units, WARPS * grid);
    return max(1, max(ceil_div(share, ROUNDS), min(share, LEAST)));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_spans(Span *spans, const int *context_lens, int sequences, int rows, int each,
                    int units, int grid, int fixed) {
    spans += (size_t)blockIdx.x * each;
    context_lens += blockIdx.x * rows;
    sequences = min(rows, sequences - (int)blockIdx.x * rows);
    const int share = ceil_div(sequences, THREADS), first = min((int)threadIdx.x * share, sequences);
    const int last = min(first + share, sequences);
    const int steps = fixed ? 1 : steps_of(context_lens, first, last, units, grid);
    int own = 0, total;
#pragma unroll 1
    for (int i = first; i < last; i++) own += spans_of(context_lens[i], steps);
    int before = sum_before(own, total);
    if (threadIdx.x == 0) spans[0] = {total, 0, 0, 0};
#pragma unroll 1
    for (int i = first; i < last; i++) {
        const Span span = {i, before, spans_of(context_lens[i], steps), context_lens[i]};
#pragma unroll 1
        for (int j = 0; j < span.count; j++) spans[1 + before++] = span;
    }
}

struct Task {
    int sequence;
    int first, spans; // of the sequence: the number of its first span, and how many it has
    int span;         // of them, from 0
    int steps, block; // cache blocks of each warp, and the first of the span
    int live;         // positions of the context from there on
    int unit;         // HEADS query heads of a KV head
    int kv_head, head, heads; // head: the first query head
};

__device__ __forceinline__ Task find_task(int number, const Span &span, int units) {
    Task task;
    task.sequence = span.sequence;
    task.first = span.first;
    task.spans = span.count;
    task.span = number / units - span.first;
    task.steps = max(1, ceil_div(cache_blocks(span.context), WARPS * span.count));
    task.block = task.span * WARPS * task.steps;
    task.live = span.context - task.block * CACHE_BLOCK;
    task.unit = number % units;
    task.kv_head = task.unit / TILES;
    task.head = task.kv_head * GROUP + task.unit % TILES * HEADS;
    task.heads = min(HEADS, GROUP - task.unit % TILES * HEADS);
    return task;
}

// Whether this block is the last of `members` to come here. If so, it sees what all of them wrote,
// and the counter is zero again.
__device__ bool comes_last(u32 *counter, int members) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        last = add_acq_rel(counter, 1) == (u32)members - 1;
        if (last) *counter = 0;
    }
    __syncthreads();
    return last;
}

struct Merged {
    float4 sums;
    float largest, total;
};

// `count` rows that lie `apart` floats from each other, in four dimensions, and of each what was
// found, `found_apart` floats from the next.
__device__ Merged merge(const float *row, size_t apart, const float *found, int found_apart,
                        int dim, int count) {
    Merged m = {make_float4(0, 0, 0, 0), LOWEST, 0};
#pragma unroll 8
    for (int i = 0; i < count; i++) m.largest = fmaxf(m.largest, found[i * found_apart]);
#pragma unroll 16
    for (int i = 0; i < count; i++) {
        const float2 one = *(const float2 *)(found + i * found_apart);
        const float4 sums = *(const float4 *)(row + i * apart + dim);
        const float weight = exp2_fast(one.x - m.largest);
        m.total += weight * one.y;
        m.sums.x += weight * sums.x;
        m.sums.y += weight * sums.y;
        m.sums.z += weight * sums.z;
        m.sums.w += weight * sums.w;
    }
    return m;
}

__device__ void store_output(elem *out, const Merged &m) {
    const float factor = m.total == 0 ? 0 : 1 / m.total;
#if DTYPE == F32
    *(float4 *)out = make_float4(m.sums.x * factor, m.sums.y * factor, m.sums.z * factor,
                                 m.sums.w * factor);
#else
    *(uint2 *)out = make_uint2(narrow_pair(m.sums.x * factor, m.sums.y * factor),
                               narrow_pair(m.sums.z * factor, m.sums.w * factor));
#endif
}

// From the parts of this block's warps to that of its span; from those of all spans to `out`.
__device__ void finish(const Task &task, const float *rooms, elem *out, float *parts, u32 *counters,
                       int units) {
    const int count = min(WARPS, ceil_div(task.live, task.steps * CACHE_BLOCK));
    const size_t span_size = (size_t)units * PART;
    float *const spans = parts + task.first * span_size + task.unit * PART;
    float *const part = spans + task.span * span_size;
    for (int i = threadIdx.x; i < HEADS * (HEAD / 4); i += THREADS) {
        const int head = i / (HEAD / 4), dim = i % (HEAD / 4) * 4;
        const float *row = rooms + head * ROW;
        const Merged m = merge(row, ROOM, row + HEAD, ROOM, dim, count);
        if (task.spans == 1) {
            if (head < task.heads) store_output(out + head * HEAD + dim, m);
            continue;
        }
        *(float4 *)(part + head * ROW + dim) = m.sums;
        if (dim == 0) *(float2 *)(part + head * ROW + HEAD) = make_float2(m.largest, m.total);
    }
    if (task.spans == 1) return;
    if (!comes_last(counters + (size_t)task.first * units + task.unit, task.spans)) return;
    // all that was found in one trip to memory, the sums in few
    __shared__ __align__(16) float found[HEADS][FAN][2];
    for (int i = threadIdx.x; i < HEADS * task.spans; i += THREADS) {
        const int head = i % HEADS, span = i / HEADS;
        *(float2 *)found[head][span] = *(const float2 *)(spans + span * span_size + head * ROW + HEAD);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < task.heads * (HEAD / 4); i += THREADS) {
        const int head = i / (HEAD / 4), dim = i % (HEAD / 4) * 4;
        const float *row = spans + head * ROW;
        const Merged m = merge(row, span_size, found[head][0], 2, dim, task.spans);
        store_output(out + head * HEAD + dim, m);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_decode(elem *out, const elem *q, const elem *k, const elem *v, const int *tables,
                     const Span *spans, float *parts, u32 *counters, int width, int kv_heads,
                     float scale) {
    extern __shared__ __align__(16) float rooms[];
    const int units = kv_heads * TILES, warp = threadIdx.x / WARP;
    const int tasks = spans[0].sequence * units;
    for (int number = blockIdx.x; number < tasks; number += gridDim.x) {
        const Task task = find_task(number, spans[1 + number / units], units);
        const int before = warp * task.steps, live = task.live - before * CACHE_BLOCK;
        const size_t row = (size_t)task.sequence * kv_heads * GROUP + task.head;
        if (live > 0) {
            const int *table = tables + (size_t)task.sequence * width + task.block + before;
            const Blocks blocks = {k, v, table, kv_heads, task.kv_head};
            attend(rooms + warp * ROOM, q + row * HEAD, task.heads, blocks,
                   min(live, task.steps * CACHE_BLOCK), scale);
        }
        __syncthreads();
        finish(task, rooms, out + row * HEAD, parts, counters, units);
        __syncthreads();
    }
}
