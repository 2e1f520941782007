// attention_decode: one query token of each sequence over its paged context, in one launch.
//
// q, out       elem[S, kv_heads * GROUP, HEAD]
// k, v         elem[blocks, kv_heads, 16, HEAD], HEAD a multiple of 16 up to 256
// tables       int[S, width], the blocks of each sequence; entries past its context are not read
// context_lens int[S]; 0 marks a row of padding, for which zeros come out
// parts        float[tasks, HEADS, HEAD + 4], counters u32[tasks]: scratch; the counters are zero
//              before a launch and after it
// scale        what scores are multiplied by, times log2(e)
// Grid: any number of blocks, S at most MAX_SEQUENCES. Block: WARPS warps. Dynamic shared memory:
// WARPS * ROOM floats. Pointers are 16-byte aligned. HEADS is at most 8.
// Reads 2 * context * kv_heads * HEAD stored numbers a sequence, once for every HEADS query heads
// of a KV head; writes and reads HEAD + 4 floats for each query head of each span.
//
// A context is cut at fixed positions into spans (flash decoding, Dao et al., 2023). A task is one
// span of one sequence for HEADS query heads of one KV head: each warp takes a cache block of it.
// What the warps found is merged into a part; parts are merged FAN at a time, by the block that
// ends the last of them, up to one whole, and always in the order of their positions. So a result
// depends on its own context alone: not on the grid, nor on what else is in the batch.
//
// compile: HEAD=64 GROUP=3 HEADS=3 WARPS=8 BLOCKS=3 FAN=32 MAX_SEQUENCES=512
// compile: HEAD=128 GROUP=4 HEADS=4 WARPS=8 BLOCKS=3 FAN=32 MAX_SEQUENCES=512
// compile: HEAD=256 GROUP=8 HEADS=8 WARPS=8 BLOCKS=2 FAN=32 MAX_SEQUENCES=512
#include "attention_block.cuh"

#define SPAN (WARPS * CACHE_BLOCK)
#define THREADS (WARPS * WARP)
#define TILES ((GROUP + HEADS - 1) / HEADS)

// first_span[i] becomes the number of spans of all sequences before i. An empty one has one too,
// for somebody has to write its zeros.
__device__ void number_spans(int *first_span, const int *context_lens, int sequences) {
    __shared__ int warp_sums[WARPS];
    const int each = (sequences + THREADS - 1) / THREADS, first = threadIdx.x * each;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int own = 0;
#pragma unroll 1
    for (int i = first; i < min(first + each, sequences); i++)
        own += max(1, (context_lens[i] + SPAN - 1) / SPAN);
    int sum = own;
#pragma unroll
    for (int distance = 1; distance < WARP; distance *= 2) {
        const int before = __shfl_up_sync(ALL_LANES, sum, distance);
        if (lane >= distance) sum += before;
    }
    if (lane == WARP - 1) warp_sums[warp] = sum;
    __syncthreads();
    int before = sum - own;
#pragma unroll 1
    for (int i = 0; i < warp; i++) before += warp_sums[i];
#pragma unroll 1
    for (int i = first; i < min(first + each, sequences); i++) {
        first_span[i] = before;
        before += max(1, (context_lens[i] + SPAN - 1) / SPAN);
    }
    if (threadIdx.x == THREADS - 1) first_span[sequences] = before;
    __syncthreads();
}

struct Task {
    int sequence, context;
    int first, spans; // of the sequence: the number of its first span, and how many it has
    int span;         // of them, from 0
    int unit;         // HEADS query heads of a KV head
    int kv_head, head, heads; // head: the first query head
};

__device__ Task find_task(int number, const int *first_span, const int *context_lens, int sequences,
                          int units) {
    Task task;
    int low = 0, high = sequences;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        (first_span[middle] <= number / units ? low : high) = middle;
    }
    task.sequence = low;
    task.context = context_lens[low];
    task.first = first_span[low];
    task.spans = first_span[low + 1] - task.first;
    task.span = number / units - task.first;
    task.unit = number % units;
    task.kv_head = task.unit / TILES;
    task.head = task.kv_head * GROUP + task.unit % TILES * HEADS;
    task.heads = min(HEADS, GROUP - task.unit % TILES * HEADS);
    return task;
}

// Whether this block is the last of `members` to come here. If so, it sees what all of them wrote,
// and the counter is zero again. One that is alone has no counter.
__device__ bool comes_last(u32 *counter, int members) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        last = members == 1 || add_acq_rel(counter, 1) == (u32)members - 1;
        if (last && members > 1) *counter = 0;
    }
    __syncthreads();
    return last;
}

struct Merged {
    float4 sums;
    float largest, total;
};

// `count` parts that lie `apart` floats from each other, in four dimensions of one row.
__device__ Merged merge(const float *row, int dim, int pair, int count, size_t apart) {
    const float *found = row + HEAD + pair;
    Merged m = {make_float4(0, 0, 0, 0), LOWEST, 0};
#pragma unroll 8
    for (int i = 0; i < count; i++) m.largest = fmaxf(m.largest, found[i * apart]);
#pragma unroll 8
    for (int i = 0; i < count; i++) {
        const float2 one = *(const float2 *)(found + i * apart);
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

// From the parts of this block's warps upwards, as far as this block is the last to come.
__device__ void finish(const Task &task, const float *rooms, elem *out, float *parts, u32 *counters,
                       int units) {
    const int live = min(SPAN, task.context - task.span * SPAN);
    const size_t span_size = (size_t)units * PART;
    float *const spans = parts + task.first * span_size + task.unit * PART;
    const float *source = rooms;
    size_t apart = ROOM;
    int count = (live + CACHE_BLOCK - 1) / CACHE_BLOCK;
    // a node stands for `reach` spans and lies where the first of them lay
    for (int level = 0, node = task.span, nodes = task.spans, reach = 1;; level++) {
        for (int i = threadIdx.x; i < HEADS * (HEAD / 4); i += THREADS) {
            const int head = i / (HEAD / 4), dim = i % (HEAD / 4) * 4;
            const Merged m = merge(source + head * ROW, dim, level % 2 * 2, count, apart);
            if (nodes == 1) {
                if (head < task.heads) store_output(out + head * HEAD + dim, m);
                continue;
            }
            float *row = spans + (size_t)node * reach * span_size + head * ROW;
            *(float4 *)(row + dim) = m.sums;
            if (dim == 0)
                *(float2 *)(row + HEAD + (level + 1) % 2 * 2) = make_float2(m.largest, m.total);
        }
        if (nodes == 1) return;
        // a parent's counter lies at its first span, moved by its level: FAN spans further begins
        // the next parent, and there are fewer levels than that
        const int parent = node / FAN;
        count = min(FAN, nodes - parent * FAN);
        const int place = task.first + parent * FAN * reach + level;
        if (!comes_last(counters + (size_t)place * units + task.unit, count)) return;
        source = spans + (size_t)parent * FAN * reach * span_size;
        apart = reach * span_size;
        node = parent;
        nodes = (nodes + FAN - 1) / FAN;
        reach *= FAN;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_decode(elem *out, const elem *q, const elem *k, const elem *v, const int *tables,
                     const int *context_lens, float *parts, u32 *counters, int sequences, int width,
                     int kv_heads, float scale) {
    extern __shared__ __align__(16) float rooms[];
    __shared__ int first_span[MAX_SEQUENCES + 1];
    __shared__ Task task;
    number_spans(first_span, context_lens, sequences);
    const int units = kv_heads * TILES, tasks = first_span[sequences] * units;
    const int warp = threadIdx.x / WARP;
    for (int number = blockIdx.x; number < tasks; number += gridDim.x) {
        if (threadIdx.x == 0)
            task = find_task(number, first_span, context_lens, sequences, units);
        __syncthreads();
        const int block = task.span * WARPS + warp, live = task.context - block * CACHE_BLOCK;
        const size_t row = (size_t)task.sequence * kv_heads * GROUP + task.head;
        if (live > 0) {
            const size_t at = ((size_t)tables[(size_t)task.sequence * width + block] * kv_heads +
                               task.kv_head) * (CACHE_BLOCK * HEAD);
            attend(rooms + warp * ROOM, q + row * HEAD, task.heads, k + at, v + at, live, scale);
        }
        __syncthreads();
        finish(task, rooms, out + row * HEAD, parts, counters, units);
        __syncthreads();
    }
}
