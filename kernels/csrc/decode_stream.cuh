// The weights of a whole model as one stream through shared memory, a warp at a time.
//
// Work comes in units of two rows of one matrix, the two that one epilogue needs together, cut into
// segments of SEGMENT columns; a unit's segment is a task. A block's tasks, product after product,
// go round its warps in turn. So every warp knows from the start which pieces of which matrices are
// its own: it asks for them ahead of need and never stops, also while it waits for other blocks.
// Its ring has SLOTS slots of a task each. One more warp does nothing but keep the rings full, a
// lane for each: finding out what comes next takes as long as computing a task, and the others are
// in a hurry.
#pragma once
#include "common.cuh"

// Threads that compute; WARP more feed them.
#define THREADS (WARPS * WARP)
#define QKV_SIZE ((HEADS + 2 * KV_HEADS) * HEAD)
#define Q_SIZE (HEADS * HEAD)
#define SEGMENT_VECS (SEGMENT / VEC)

// The products of a layer in their order, then the head. In the table of addresses each layer has
// ENTRIES entries, the products first.
enum Product { QKV, OUT, GATE_UP, DOWN, VOCABULARY, END };
enum Entry { ATTENTION_NORM = 4, MLP_NORM, K_CACHE, V_CACHE, ENTRIES };

__device__ __forceinline__ int units_of(int product) {
    switch (product) {
        case QKV: return QKV_SIZE / 2;
        case GATE_UP: return INNER;
        case VOCABULARY: return VOCAB / 2;
        default: return HIDDEN / 2;
    }
}

// Where a block's share of a product's units begins: as even as they go, but gate and up, which
// are handed on two in a word, stay in twos.
__device__ __forceinline__ int share_of(int product, int block) {
    int units = units_of(product);
    return product == GATE_UP ? units / 2 * block / BLOCKS * 2 : units * block / BLOCKS;
}

__device__ __forceinline__ int columns_of(int product) {
    return product == OUT ? Q_SIZE : product == DOWN ? INNER : HIDDEN;
}

// What a block does of a product: units [first, first + units), `tasks` tasks.
struct Part {
    int first, units, tasks, segments, columns;
    u32 inverse; // ceil(2^32 / segments); 0 stands for 2^32

    __device__ __forceinline__ void set(int product, int begin, int end) {
        columns = columns_of(product);
        segments = (columns + SEGMENT - 1) / SEGMENT;
        inverse = 0xffffffffu / segments + 1;
        first = begin;
        units = end - begin;
        tasks = units * segments;
    }

    __device__ __forceinline__ int unit_of(int task) const {
        return inverse ? (int)__umulhi(task, inverse) : task;
    }
};

// Pairs that rotary embedding turns together; gate and up; else neighbours.
__device__ __forceinline__ int first_row_of(int product, int unit) {
    if (product == QKV) return unit / (HEAD / 2) * HEAD + unit % (HEAD / 2);
    return product == GATE_UP ? unit : 2 * unit;
}

__device__ __forceinline__ int rows_apart(int product) {
    return product == QKV ? HEAD / 2 : product == GATE_UP ? INNER : 1;
}

#define VECS_PER_LANE ((SEGMENT_VECS + WARP - 1) / WARP)
// Whether every segment of every product gives every lane VECS_PER_LANE vectors.
#define ALL_FULL                                                                             \
    (SEGMENT_VECS % WARP == 0 && HIDDEN % SEGMENT == 0 && Q_SIZE % SEGMENT == 0 &&            \
     INNER % SEGMENT == 0)

// The barriers of a ring's slot: its task has come; its task has been read.
struct Slot {
    u64 filled, emptied;
};

// What the feeding lane of one ring knows: which task comes next, into which slot.
struct Feeder {
    const u64 *table;  // in shared memory; the entry after the last layer's is the head
    const Part *parts; // in shared memory, of each product
    uint4 *ring;
    Slot *slots;
    int layer, product, task, slot;
    u32 parity;

    __device__ __forceinline__ void start(int warp) {
        layer = 0;
        product = QKV;
        task = warp;
        slot = 0;
        parity = 1; // a new barrier counts as past its phase of parity 1: all slots are empty
        settle();
    }

    // Ask for the next task if there is room. False at the end.
    __device__ __forceinline__ bool feed() {
        if (product == END) return false;
        if (!barrier_is_past(&slots[slot].emptied, parity)) return true;
        copy(ring + slot * 2 * SEGMENT_VECS, &slots[slot].filled);
        task += WARPS;
        settle();
        if (++slot == SLOTS) {
            slot = 0;
            parity ^= 1;
        }
        return true;
    }

    __device__ __forceinline__ void settle() {
#pragma unroll 1
        while (product != END && task >= parts[product].tasks) {
            task -= parts[product].tasks;
            product = product == DOWN && ++layer < LAYERS ? QKV : product + 1;
        }
    }

    __device__ __forceinline__ void copy(uint4 *to, u64 *filled) const {
        const Part &part = parts[product];
        int unit = part.unit_of(task), start = (task - unit * part.segments) * SEGMENT;
        u32 bytes = min(SEGMENT, part.columns - start) * sizeof(elem);
        const elem *matrix = (const elem *)table[layer * ENTRIES + product % VOCABULARY] + start;
        const elem *first = matrix + (long long)first_row_of(product, part.first + unit) * part.columns;
        const elem *second = first + (long long)rows_apart(product) * part.columns;
        barrier_expect(filled, 2 * bytes);
        bulk_copy(to, first, bytes, filled);
        bulk_copy(to + SEGMENT_VECS, second, bytes, filled);
    }
};

// A computing warp's end of its ring.
struct Stream {
    uint4 *ring;
    Slot *slots;
    int slot;
    u32 parity;

    // The slot that was read is free again: called once after each `multiply`.
    __device__ __forceinline__ void release() {
        __syncwarp();
        if (threadIdx.x % WARP == 0) barrier_arrive(&slots[slot].emptied);
        if (++slot == SLOTS) {
            slot = 0;
            parity ^= 1;
        }
    }

    // The next two row segments · x, this lane's part. x lies in two halves: of each eight numbers
    // the first four in the first half, the others in the second (see put_input).
    __device__ __forceinline__ float2 multiply(int columns, int start, const float *x) const {
        const uint4 *from = ring + slot * 2 * SEGMENT_VECS;
        const float4 *low = (const float4 *)x + start / VEC, *high = low + columns / VEC;
        int count = min(SEGMENT, columns - start) / VEC;
        const uint4 none = make_uint4(0, 0, 0, 0);
        float2 sums[2] = {make_float2(0, 0), make_float2(0, 0)};
        barrier_wait(&slots[slot].filled, parity);
#pragma unroll
        for (int i = 0; i < VECS_PER_LANE; i++) {
            int v = threadIdx.x % WARP + i * WARP;
            bool there = ALL_FULL || v < count;
            uint4 a = there ? from[v] : none, b = there ? from[SEGMENT_VECS + v] : none;
            if (!there) v = 0; // any number will do: its weights are zero
            float wide_a[VEC], wide_b[VEC];
            widen_vec(a, wide_a);
            widen_vec(b, wide_b);
            float4 l = low[v], h = high[v];
            const float in[VEC] = {l.x, l.y, l.z, l.w, h.x, h.y, h.z, h.w};
#pragma unroll
            for (int e = 0; e < VEC; e++) {
                sums[e % 2].x += wide_a[e] * in[e];
                sums[e % 2].y += wide_b[e] * in[e];
            }
        }
        return make_float2(sums[0].x + sums[1].x, sums[0].y + sums[1].y);
    }
};

// Neighbouring numbers of a product's input, two at an even index k, or four, to where `multiply`
// reads them: lanes that read 16 bytes next to each other meet no bank conflict.
__device__ __forceinline__ float *place_of_input(float *x, int columns, int k) {
    return x + k / VEC * 4 + k % 4 + (k / 4 & 1) * (columns / 2);
}

__device__ __forceinline__ void put_input(float *x, int columns, int k, float2 values) {
    *(float2 *)place_of_input(x, columns, k) = values;
}

__device__ __forceinline__ void put_input(float *x, int columns, int k, float4 values) {
    *(float4 *)place_of_input(x, columns, k) = values;
}
