// compile: HIDDEN=576 INNER=1536 HEADS=9 KV_HEADS=3 HEAD=64 VOCAB=49152 LAYERS=30 WARPS=8 SEGMENT=576 SLOTS=10 SPAN=128 OWN_ROWS=64 BLOCKS=132
// compile: HIDDEN=2048 INNER=8192 HEADS=32 KV_HEADS=8 HEAD=64 VOCAB=128256 LAYERS=16 WARPS=8 SEGMENT=1024 SLOTS=5 SPAN=128 OWN_ROWS=64 BLOCKS=132
// compile: HIDDEN=4096 INNER=14336 HEADS=32 KV_HEADS=8 HEAD=128 VOCAB=128256 LAYERS=32 WARPS=8 SEGMENT=1024 SLOTS=4 SPAN=128 OWN_ROWS=64 BLOCKS=132
// dtypes: f16 bf16
//
// decode_token: one token of one sequence through a whole Llama-shaped decoder, in one kernel.
//
// At one row a model is bound by reading its weights, and every boundary between kernels is time in
// which nothing is read. Here the weights are one stream per warp that never stops
// (decode_stream.cuh), and blocks hand each other numbers in tagged words instead of meeting at
// barriers (words.cuh): a layer is five such hand-overs.
//
// WARPS is a multiple of 4, SLOTS at most 32.
// Grid: at most HIDDEN / 2 and INNER / 2 blocks, all running at once (cooperative), one per
// multiprocessor; block: WARPS + 1 warps. Every block has a share of every product: that is what makes
// it safe to write a buffer again, since who writes has, over one hand-over or more, heard from all
// who read it before.
// HEADS is a multiple of KV_HEADS; HEAD a power of two from 16 to 256; HIDDEN, INNER and SEGMENT
// multiples of 8.
//
// table      u64[LAYERS * ENTRIES + 1] addresses, see decode_stream.cuh; the last is the head's
// embedding  elem[VOCAB, HIDDEN];  last_norm f32[HIDDEN];  cosine, sine f32[positions, HEAD / 2]
// token      i32[1];  position i64[1];  blocks i32[W]: the sequence's block table
// words      u64[WORDS + spans * HEADS * PART], zero before the first call;  epoch u32[1], from 1 on
// logits     f32[VOCAB]
//
// Bytes moved: every weight once, and the live keys and values.
#include "decode_merge.cuh"

#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define INPUT_SIZE MAX(MAX(HIDDEN, INNER), Q_SIZE)
// Pairs of words that a thread waits for at a time; each hold two numbers, or four.
#define PAIRS_AT_ONCE (HIDDEN <= 4 * THREADS ? 2 : HIDDEN <= 8 * THREADS ? 4 : 8)
#define QUADS_AT_ONCE (INNER <= 8 * THREADS ? 2 : INNER <= 16 * THREADS ? 4 : 8)
// Tasks of a block whose sums are kept at once.
#define MOST_TASKS 512
#define TAGS_PER_TOKEN (4 * LAYERS + 4)

extern __shared__ uint4 shared_memory[];

struct Decoder {
    Stream stream;
    const u64 *table;  // in shared memory, as for the feeding warp
    const Part *parts;
    Attention attention;
    float *x, *squares, *residual, *scratch; // in shared memory
    float2 *sums;
    u64 *after_attention, *after_mlp, *activated;
    const float *cosine, *sine; // of this position
    const float *last_norm;
    float *logits;
    float eps;
    int task; // of the product that is computed: this warp's next

    // x = numbers of the residual stream times the norm's weight: what is left of the norm then is
    // one factor, applied to the product (see `scale`).
    __device__ __forceinline__ void load_normed(const u64 *words, u32 tag, const float *norm) {
        float sum = 0;
#pragma unroll 1
        for (int begin = 0; begin < HIDDEN / 2; begin += PAIRS_AT_ONCE * THREADS) {
            uint2 values[PAIRS_AT_ONCE];
            float2 weights[PAIRS_AT_ONCE];
#pragma unroll
            for (int j = 0; j < PAIRS_AT_ONCE; j++) {
                int pair = begin + threadIdx.x + j * THREADS;
                if (pair < HIDDEN / 2) weights[j] = __ldg((const float2 *)norm + pair);
            }
            take_share(words, begin, HIDDEN / 2, tag, values);
#pragma unroll
            for (int j = 0; j < PAIRS_AT_ONCE; j++) {
                int pair = begin + threadIdx.x + j * THREADS;
                if (pair >= HIDDEN / 2) continue;
                float2 v = pair_of(values[j]);
                sum += v.x * v.x + v.y * v.y;
                put_input(x, HIDDEN, 2 * pair,
                          make_float2(v.x * weights[j].x, v.y * weights[j].y));
            }
        }
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0) squares[threadIdx.x / WARP] = sum;
        sync_first(THREADS);
    }

    // x = numbers that come two in a word.
    __device__ __forceinline__ void load_packed(const u64 *words, u32 tag, int columns) {
#pragma unroll 1
        for (int begin = 0; begin < columns / 4; begin += QUADS_AT_ONCE * THREADS) {
            uint2 values[QUADS_AT_ONCE];
            take_share(words, begin, columns / 4, tag, values);
#pragma unroll
            for (int j = 0; j < QUADS_AT_ONCE; j++) {
                int quad = begin + threadIdx.x + j * THREADS;
                if (quad < columns / 4) put_input(x, columns, 4 * quad, quad_of(values[j]));
            }
        }
        sync_first(THREADS);
    }

    // x = the result of attention, merged from some spans.
    __device__ __forceinline__ void load_merged() {
#pragma unroll 1
        for (int begin = 0; begin < Q_SIZE / 4; begin += THREADS) {
            int quad = begin + threadIdx.x;
            Merged merged;
            merged.take(attention, min(quad, Q_SIZE / 4), 0, 1, attention.spans());
            if (quad >= Q_SIZE / 4) continue;
            merged.scale(1 / merged.weight);
            put_input(x, Q_SIZE, 4 * quad, merged.mean);
        }
        sync_first(THREADS);
    }

    __device__ __forceinline__ float scale() const {
        float sum = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w += 4) {
            float4 s = *(const float4 *)(squares + w);
            sum += (s.x + s.y) + (s.z + s.w);
        }
        return rsqrtf(sum / HIDDEN + eps);
    }

    // This block's part of a product, and what follows it, a thread for each unit.
    __device__ __forceinline__ void multiply(int product, u32 tag) {
        const Part part = parts[product];
        const int at_once = MOST_TASKS / part.segments / 2 * 2;
#pragma unroll 1
        for (int first = 0; first < part.units; first += at_once) {
            int units = min(at_once, part.units - first), tasks = units * part.segments;
#pragma unroll 1
            for (; task < tasks; task += WARPS) {
                int segment = task - part.unit_of(task) * part.segments;
                float2 sum = stream.multiply(part.columns, segment * SEGMENT, x);
                sum.x = warp_sum(sum.x);
                sum.y = warp_sum(sum.y);
                if (threadIdx.x % WARP == 0) sums[task] = sum;
                stream.release();
            }
            task -= tasks;
            sync_first(THREADS);
            if (product == GATE_UP) {
#pragma unroll 1
                for (int unit = 2 * threadIdx.x; unit < units; unit += 2 * THREADS)
                    hand_on_activated(part.first + first + unit, total(part, unit),
                                      total(part, unit + 1), tag);
            } else {
#pragma unroll 1
                for (int unit = threadIdx.x; unit < units; unit += THREADS) {
                    float2 sum = total(part, unit);
                    finish(product, part.first + first + unit, first + unit, sum.x, sum.y, tag);
                }
            }
            if (first + at_once < part.units) sync_first(THREADS);
        }
    }

    __device__ __forceinline__ float2 total(const Part &part, int unit) const {
        const float2 *own = sums + unit * part.segments;
        float2 sum = own[0];
#pragma unroll 1
        for (int i = 1; i < part.segments; i++) {
            sum.x += own[i].x;
            sum.y += own[i].y;
        }
        return sum;
    }

    __device__ __forceinline__ void hand_on_activated(int unit, float2 a, float2 b, u32 tag) {
        float factor = scale();
        put_two(activated + unit / 2, silu(a.x * factor) * (a.y * factor),
                silu(b.x * factor) * (b.y * factor), tag);
    }

    __device__ __forceinline__ void finish(int product, int unit, int own, float a, float b,
                                           u32 tag) {
        if (product == OUT || product == DOWN) {
            u64 *words = (product == OUT ? after_attention : after_mlp) + 2 * unit;
            float2 &sum = ((float2 *)residual)[own];
            sum = make_float2(sum.x + a, sum.y + b);
            return put_pair(words, sum.x, sum.y, tag);
        }
        float factor = scale();
        a *= factor;
        b *= factor;
        if (product == QKV) hand_on_qkv(unit, a, b, tag);
        else *(float2 *)(logits + 2 * unit) = make_float2(a, b);
    }

    // Rotate queries and keys, hand q, k and v on, and put k and v into the cache.
    __device__ __forceinline__ void hand_on_qkv(int unit, float low, float high, u32 tag) {
        int head = unit / (HEAD / 2), pair = unit % (HEAD / 2);
        if (head < HEADS + KV_HEADS) {
            float c = cosine[pair], s = sine[pair], turned = low * c - high * s;
            high = high * c + low * s;
            low = turned;
        }
        elem in_cache[2] = {narrow(low), narrow(high)};
        if (head >= HEADS) { // as later tokens will read it
            low = widen(in_cache[0]);
            high = widen(in_cache[1]);
        }
        put_pair(attention.qkv + 2 * unit, low, high, tag);
        if (head < HEADS) return;
        bool is_key = head < HEADS + KV_HEADS;
        int kv_head = head - HEADS - (is_key ? 0 : KV_HEADS);
        elem *row = (is_key ? attention.k_cache : attention.v_cache) +
                    attention.row(kv_head, attention.position);
        row[pair] = in_cache[0];
        row[pair + HEAD / 2] = in_cache[1];
    }

    __device__ __forceinline__ void attend() {
        const Scratch shared(scratch);
        int queries = attention.queries(), shares = HEADS / queries;
#pragma unroll 1
        for (int task = blockIdx.x; task < shares * attention.spans(); task += BLOCKS)
            attend_span(attention, task % shares * queries, queries, task / shares, shared);
        if (!attention.is_merged_by_few()) return;
#pragma unroll 1
        for (int head = blockIdx.x; head < HEADS; head += BLOCKS)
            merge_spans(attention, head, shared);
    }

    // While a block waits for the layer's beginning: what it will read from memory besides weights.
    __device__ __forceinline__ void prefetch(int layer) {
        const u64 *entries = table + layer * ENTRIES;
        attention.k_cache = (elem *)entries[K_CACHE];
        attention.v_cache = (elem *)entries[V_CACHE];
        int line = threadIdx.x * 32;
        if (line < HIDDEN) {
            prefetch_l2((const float *)entries[ATTENTION_NORM] + line);
            prefetch_l2((const float *)entries[MLP_NORM] + line);
        }
        int queries = attention.queries(), shares = HEADS / queries, task = blockIdx.x;
        if (task < shares * attention.spans())
            prefetch_span(attention, task % shares * queries / GROUP, task / shares);
    }

    // One product, with what it reads: words of this tag. It hands on the next.
    __device__ __forceinline__ void step(int layer, int product, u32 tag) {
        if (product == QKV) prefetch(layer);
        if (product == OUT) {
            attention.tag = tag;
            attend();
        }
        if (product == OUT && attention.is_merged_by_all()) {
            load_merged();
        } else if (product == OUT || product == DOWN) {
            const u64 *words = product == DOWN ? activated : attention.whole();
            load_packed(words, tag, parts[product].columns);
        } else {
            const float *norm = last_norm;
            if (product != VOCABULARY)
                norm = (const float *)table[layer * ENTRIES + ATTENTION_NORM + product / 2];
            load_normed(product == GATE_UP ? after_attention : after_mlp, tag, norm);
        }
        multiply(product, tag + 1);
    }

    // The residual stream of this block's own rows stays in shared memory.
    __device__ __forceinline__ void start_residual(const elem *embedding, u32 tag) {
        const Part &part = parts[OUT];
        for (int i = threadIdx.x; i < part.units; i += THREADS) {
            const elem *two = embedding + 2 * (part.first + i);
            float2 own = make_float2(widen(two[0]), widen(two[1]));
            ((float2 *)residual)[i] = own;
            put_pair(after_mlp + 2 * (part.first + i), own.x, own.y, tag);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS + WARP, 1)
    decode_token(const u64 *table, const elem *embedding, const float *last_norm,
                 const float *cosine, const float *sine, float eps,
                 const int *token, const long long *position, const int *blocks, u64 *words,
                 u32 *epoch, float *logits) {
    u64 *own_table = (u64 *)shared_memory;
    const int table_size = LAYERS * ENTRIES + 1;
    uint4 *rings = shared_memory + (table_size + 1) / 2;
    float2 *sums = (float2 *)(rings + WARPS * SLOTS * 2 * SEGMENT_VECS);
    Slot *slots = (Slot *)(sums + MOST_TASKS);
    Part *parts = (Part *)(slots + WARPS * SLOTS);
    float *x = (float *)(parts + END + 1);
    float *squares = x + INPUT_SIZE, *own_cosine = squares + WARPS;
    float *own_sine = own_cosine + HEAD / 2, *scratch = own_sine + HEAD / 2;
    int at = (int)*position, id = max(*token, 0); // a failed row goes on as padding
    for (int i = threadIdx.x; i < table_size; i += THREADS + WARP) own_table[i] = table[i];
    if (threadIdx.x < END)
        parts[threadIdx.x].set(threadIdx.x, share_of(threadIdx.x, blockIdx.x),
                               share_of(threadIdx.x, blockIdx.x + 1));
    for (int i = threadIdx.x; i < HEAD / 2; i += THREADS + WARP) {
        own_cosine[i] = cosine[at * (HEAD / 2ll) + i];
        own_sine[i] = sine[at * (HEAD / 2ll) + i];
    }
    for (int i = threadIdx.x; i < WARPS * SLOTS; i += THREADS + WARP) {
        barrier_init(&slots[i].filled, 1);
        barrier_init(&slots[i].emptied, 1);
    }
    barrier_init_fence();
    __syncthreads();
    if (threadIdx.x >= THREADS) {
        int warp = threadIdx.x - THREADS;
        if (warp >= WARPS) return;
        Feeder feeder = {own_table, parts, rings + warp * SLOTS * 2 * SEGMENT_VECS,
                         slots + warp * SLOTS};
        feeder.start(warp);
#pragma unroll 1
        while (feeder.feed());
        return;
    }

    Decoder d;
    d.table = own_table;
    d.parts = parts;
    d.stream = {rings + threadIdx.x / WARP * SLOTS * 2 * SEGMENT_VECS,
                slots + threadIdx.x / WARP * SLOTS, 0, 0};
    d.x = x;
    d.sums = sums;
    d.squares = squares;
    d.scratch = scratch;
    d.residual = scratch + SCRATCH;
    d.cosine = own_cosine;
    d.sine = own_sine;
    d.last_norm = last_norm;
    d.logits = logits;
    d.eps = eps;
    d.task = threadIdx.x / WARP;
    d.attention.position = at;
    d.attention.blocks = blocks;
    d.attention.qkv = words;
    d.attention.result = words + QKV_SIZE;
    d.after_attention = d.attention.result + Q_SIZE;
    d.after_mlp = d.after_attention + HIDDEN;
    d.activated = d.after_mlp + HIDDEN;
    d.attention.parts = d.activated + INNER;

    u32 first_tag = *epoch * TAGS_PER_TOKEN;
    d.start_residual(embedding + (long long)id * HIDDEN, first_tag);
#pragma unroll 1
    for (int step = 0; step <= 4 * LAYERS; step++) // one copy of the code, the head's too
        d.step(step / 4, step < 4 * LAYERS ? step % 4 : VOCABULARY, first_tag + step);
    // Whoever comes here has heard from all blocks, so all have read the epoch.
    if (blockIdx.x == 0 && threadIdx.x == 0) *epoch += 1;
}
