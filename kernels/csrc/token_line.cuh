// A row's tokens in a line, and who stands where a count or a running sum of weights is reached.
//
// The line: by falling weight (equals by id), or by id. A token's key, smaller before larger,
// tells its place and its weight: (steps below the largest logit, id) or (id, steps). 2^40 steps
// halve the weight. Tokens under 2^-45 of the largest weight do not stand in the line: all 2^18 of
// them together would come once in a hundred million draws.
//
// For one block of LIST threads. Sums are of whole numbers, so their order does not matter.
#pragma once
#include "sampled_row.cuh"

#define HALVING_BITS 40
#define STEP_BITS (HALVING_BITS + 6)
#define ID_BITS (64 - STEP_BITS)
#define MOST_STEPS ((1ull << STEP_BITS) - 1)
#define LARGEST_BITS 45
#define BUCKET_BITS 11
#define WARPS (LIST / WARP)
#define NOBODY (~0ull)
static_assert(BUCKETS == 1 << BUCKET_BITS && BUCKETS == 2 * LIST, "two buckets a thread");
static_assert(WARPS == WARP, "a warp adds what the warps found");
static_assert(GROUP == 4 * WARP && GROUP * BUCKETS == 1 << ID_BITS, "by id, a bucket is a group");

// The first tokens of a line: how many, and their weight.
struct Stretch {
    u32 count;
    u64 weight;
};

struct Mark {
    u32 count;
    u64 weight;

    __device__ __forceinline__ bool reached(const Stretch &s) const {
        return s.count >= count || s.weight >= weight;
    }
};

__device__ __forceinline__ u64 warp_sum(u64 x) {
#pragma unroll
    for (int distance = WARP / 2; distance; distance /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

// The sum over this thread and those before it. `scratch` holds a number for each warp.
__device__ __forceinline__ u64 running_sum(u64 x, u64 *scratch) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int distance = 1; distance < WARP; distance *= 2) {
        u64 before = __shfl_up_sync(ALL_LANES, x, distance);
        if (lane >= distance) x += before;
    }
    __syncthreads();
    if (lane == WARP - 1) scratch[warp] = x;
    __syncthreads();
    return x + warp_sum(lane < warp ? scratch[lane] : 0);
}

// How many tokens, and how much weight, have keys in each of BUCKETS equal ranges; after `scan`, in
// all ranges up to each. In shared memory, which adds 32 bits at a time.
struct Histogram {
    u32 count[BUCKETS], low[BUCKETS], high[BUCKETS];

    __device__ __forceinline__ u64 weight(int i) const { return (u64)high[i] << 32 | low[i]; }

    __device__ __forceinline__ void put(int i, u32 tokens, u64 weight) {
        count[i] = tokens, low[i] = (u32)weight, high[i] = (u32)(weight >> 32);
    }

    __device__ __forceinline__ void clear() {
        for (int i = threadIdx.x; i < BUCKETS; i += LIST) put(i, 0, 0);
    }

    __device__ __forceinline__ void add(int i, u32 tokens, u64 weight) {
        u32 part = (u32)weight, old = atomicAdd(&low[i], part);
        atomicAdd(&high[i], (u32)(weight >> 32) + (old + part < old));
        atomicAdd(&count[i], tokens);
    }

    __device__ __forceinline__ Stretch upto(int i) const { return {count[i], weight(i)}; }

    __device__ __forceinline__ void scan(const Stretch &before, u64 *scratch) {
        int even = 2 * threadIdx.x, odd = even + 1;
        u32 count_of_odd = count[odd];
        u64 weight_of_odd = weight(odd);
        u32 tokens = before.count + (u32)running_sum(count[even] + count_of_odd, scratch);
        u64 sum = before.weight + running_sum(weight(even) + weight_of_odd, scratch);
        put(even, tokens - count_of_odd, sum - weight_of_odd);
        put(odd, tokens, sum);
        __syncthreads();
    }
};

// Some neighbours of the line, sorted: keys, and the weight of the line up to each.
struct List {
    u64 keys[LIST], upto[LIST], scratch[WARPS];
    u32 size;
    int bucket, found; // two, since who is slow still reads the one when the other is written

    // Bitonic, over the first power of two that holds the list. A thread compares two keys at a
    // time; those less than 32 apart were written by its own warp.
    __device__ __forceinline__ void sort() {
        int thread = threadIdx.x, padded = size > 1 ? 1 << (WARP - __clz(size - 1)) : 1;
        for (int run = 2; run <= padded; run *= 2) {
            for (int stride = run / 2; stride; stride /= 2) {
                if (stride >= WARP)
                    __syncthreads();
                else
                    __syncwarp();
                int i = 2 * thread - (thread & (stride - 1));
                if (i >= padded) continue;
                u64 a = keys[i], b = keys[i + stride];
                if ((a > b) == ((i & run) == 0)) keys[i] = b, keys[i + stride] = a;
            }
        }
        __syncthreads();
    }

    // The first in the list with whom the mark is reached. `before`: what stands before the list.
    __device__ __forceinline__ int find(const Mark &mark, const Stretch &before) {
        u32 i = threadIdx.x;
        __syncthreads();
        if (i < size && mark.reached({before.count + i + 1, upto[i]}) &&
            !(i && mark.reached({before.count + i, upto[i - 1]})))
            found = i;
        __syncthreads();
        return found;
    }

    __device__ __forceinline__ bool reaches(const Mark &mark, const Stretch &before) const {
        return size && !mark.reached(before) &&
               mark.reached({before.count + size, upto[size - 1]});
    }
};

// 2^32 · 2^-(r / 2^32) within 4, by a polynomial through seven Chebyshev nodes. In whole numbers,
// so that every GPU gives the same weights.
__device__ __forceinline__ u64 half_to_the(u32 r) {
    u32 p = __umulhi(r, 0xbda6u);
    p = __umulhi(r, 0x9c200u - p);
    p = __umulhi(r, 0x5728b0u - p);
    p = __umulhi(r, 0x27641a9u - p);
    p = __umulhi(r, 0xe358127u - p);
    p = __umulhi(r, 0x3d7f7bcbu - p);
    return (1ull << 32) - __umulhi(r, 0xb17217f7u - p);
}

struct Line {
    Logits logits;
    const u32 *peaks;         // of each group, the rank of its largest logit
    const u32 *bucket_counts; // over the whole line, of all blocks
    const u64 *bucket_weights;
    float top;
    double steps_per_logit;
    u64 deepest; // the most steps that min-p leaves
    bool ordered;

    __device__ __forceinline__ int groups() const { return (logits.vocab + GROUP - 1) / GROUP; }

    __device__ __forceinline__ u64 steps(float x) const {
        double gap = (double)top - x, steps = gap * steps_per_logit;
        return gap == 0 ? 0 : steps < MOST_STEPS ? (u64)steps : MOST_STEPS;
    }

    __device__ __forceinline__ u64 key(float x, int id) const {
        return ordered ? steps(x) << ID_BITS | id : (u64)id << STEP_BITS | steps(x);
    }

    __device__ __forceinline__ u64 steps_of(u64 key) const {
        return ordered ? key >> ID_BITS : key & MOST_STEPS;
    }

    __device__ __forceinline__ int id_of(u64 key) const {
        return (int)(ordered ? key & ((1 << ID_BITS) - 1) : key >> STEP_BITS);
    }

    // 0: not in the line. In the one by weight, min-p is the last cut; of the one by id it decides
    // who stands there at all.
    __device__ __forceinline__ u64 weight(u64 key) const {
        u64 steps = steps_of(key);
        int halvings = (int)(steps >> HALVING_BITS);
        if (halvings > LARGEST_BITS || (!ordered && steps > deepest)) return 0;
        return half_to_the((u32)(steps >> (HALVING_BITS - 32))) << (LARGEST_BITS - 32) >> halvings;
    }

    // Add the tokens whose keys lie in the BUCKETS ranges of 2^shift from `first` on, of every
    // `stride`-th batch of groups. Returns this thread's share of the weight that min-p leaves.
    __device__ __forceinline__ u64 tally(Histogram &h, u64 first, int shift, int batch,
                                         int stride) const {
        u64 left = 0;
        int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        for (int group = batch * WARPS + warp; group < groups(); group += stride * WARPS) {
            float x[4];
            int id = group * GROUP + 4 * lane;
            logits.load(id, x);
            Stretch own = {0, 0};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                u64 place = key(x[i], id + i), w = weight(place);
                u64 bucket = (place - first) >> shift;
                if (!w) continue;
                if (steps_of(place) <= deepest) left += w;
                own.count++, own.weight += w;
                if (ordered && bucket < BUCKETS) h.add((int)bucket, 1, w);
            }
            if (!ordered) {
                u64 count = warp_sum((u64)own.count), sum = warp_sum(own.weight);
                if (lane == 0) h.put(group, (u32)count, sum);
            }
        }
        return left;
    }

    // The histogram of the whole line, that all blocks have made.
    __device__ __forceinline__ Stretch whole(Histogram &h, List &list) const {
        for (int i = threadIdx.x; i < BUCKETS; i += LIST)
            h.put(i, bucket_counts[i], bucket_weights[i]);
        __syncthreads();
        h.scan({0, 0}, list.scratch);
        return h.upto(BUCKETS - 1);
    }

    __device__ __forceinline__ bool may_hold(int group, u64 first, u64 span) const {
        if (ordered) return steps(value_of(peaks[group])) << ID_BITS <= first + span;
        return ((u64)group << (64 - BUCKET_BITS)) - first <= span;
    }

    // Sort the tokens with keys from first to first + span, at most LIST, into the list.
    __device__ __forceinline__ void gather(List &list, u64 first, u64 span, u64 before) const {
        int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        list.keys[threadIdx.x] = NOBODY;
        if (threadIdx.x == 0) list.size = 0;
        __syncthreads();
        // neighbouring groups go to different warps: common tokens have neighbouring ids
        for (int base = 0; base < groups(); base += WARPS * WARP) {
            int own = base + lane * WARPS + warp;
            u32 hits = __ballot_sync(ALL_LANES, own < groups() && may_hold(own, first, span));
            for (; hits; hits &= hits - 1) {
                float x[4];
                int id = (base + (__ffs(hits) - 1) * WARPS + warp) * GROUP + 4 * lane;
                logits.load(id, x);
                for (int i = 0; i < 4; i++) {
                    u64 place = key(x[i], id + i);
                    if (place - first <= span && weight(place))
                        list.keys[atomicAdd(&list.size, 1u)] = place;
                }
            }
        }
        __syncthreads();
        list.sort();
        u64 place = list.keys[threadIdx.x];
        list.upto[threadIdx.x] =
            before + running_sum(place == NOBODY ? 0 : weight(place), list.scratch);
        __syncthreads();
    }

    // Fill the list with neighbours among whom the mark is reached: all from the line's beginning
    // where they fit, else the range of keys in which it is reached, made smaller until it fits.
    // Returns what stands before them. h: of the whole line, left so if `kept` stays true.
    __device__ __forceinline__ Stretch bring(Histogram &h, List &list, const Mark &mark,
                                             bool &kept) const {
        Stretch before = {0, 0};
        u64 first = 0;
        if (!kept) whole(h, list);
        kept = true;
        for (int shift = 64 - BUCKET_BITS;; shift -= BUCKET_BITS) {
            for (int i = threadIdx.x; i < BUCKETS; i += LIST)
                if (mark.reached(h.upto(i)) && !(i && mark.reached(h.upto(i - 1))))
                    list.bucket = i;
            __syncthreads();
            int bucket = list.bucket;
            Stretch upto = h.upto(bucket), below = bucket ? h.upto(bucket - 1) : before;
            if (first == 0 && upto.count <= LIST) {
                gather(list, 0, ((u64)(bucket + 1) << shift) - 1, 0);
                return {0, 0};
            }
            first += (u64)bucket << shift, before = below;
            if (upto.count - below.count <= LIST) {
                gather(list, first, (1ull << shift) - 1, before.weight);
                return before;
            }
            kept = false;
            __syncthreads();
            h.clear();
            __syncthreads();
            tally(h, first, shift - BUCKET_BITS, 0, 1);
            __syncthreads();
            h.scan(before, list.scratch);
        }
    }
};
