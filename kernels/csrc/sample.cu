// sample: the next token of each row of logits, and the step forward of the rows that decode.
// Stages, in this order: bias, penalties, temperature, top-k, top-p, min-p, one draw.
//
//   survey  puts bias and penalties into the logits, finds each row's largest, ends greedy rows.
//   draw    ends the other rows. Need not be launched where every seat is greedy.
//
// How a token is drawn. Every cut keeps the beginning of a line (token_line.cuh), and the draw asks
// for a place in what is left, so each question is the same: with which token does the count, or
// the running sum of weights, reach a mark? A histogram, made by all blocks of the row, tells the
// range of keys; the last block sorts the few tokens up to there, and mostly finds all answers
// among them. No number depends on how many blocks or rows there are.
//
//   logits        fp32[R, vocab]  vocab at most 2^18; written where a row has bias or penalties
//   seats         Seat[S]         how each seat samples
//   row_seats     int32[R]        the seat of each row
//   sampled       int32[S]        out: the token; -1 where the largest logit is not finite
//   context_lens  int32[R]        tokens known of each row; 0: padding, left alone
//   counts        int32[S, vocab] or null: how often a token came in the answer, and its sign bit
//                                 where it is in the prompt. Counts what is drawn.
//   positions, slots int64[R], block_tables int32[R, table_width]  or null: of this decode step;
//                                 out: of the next. A negative block or its lack ends the row.
//   bias_ids int32, bias_values fp32 [S, bias_width]   id -1: none
//   peaks int32[R, vocab / GROUP rounded up], tops int64[R]   written by survey for draw
//   race, left int64[R]; done int32[R]; bucket_counts int32, bucket_weights int64 [R, BUCKETS]:
//                                 0 before the first launch, and left so
//
// Grid: (blocks of a row, R). Block: 256 threads (survey), LIST (draw).
// Constants: GROUP 128, LIST 1024, BUCKETS 2048, SEAT_BYTES.
// Bytes moved: 4 · vocab a greedy row; about three times that a sampled one, from L2 when few.
//
// dtypes: f32
// compile: GROUP=128 LIST=1024 BUCKETS=2048 SEAT_BYTES=64
#include "token_line.cuh"

#define SURVEYORS 256

// Bias of the tokens that this block reads.
__device__ __forceinline__ void add_bias(const Logits &logits, const int *ids, const float *values,
                                         int count) {
    int span = GROUP * SURVEYORS / WARP;
    for (int i = threadIdx.x; i < count; i += SURVEYORS)
        if (ids[i] >= 0 && ids[i] / span % gridDim.x == blockIdx.x) logits.row[ids[i]] += values[i];
    __syncthreads();
}

__device__ __forceinline__ u64 warp_max(u64 x) {
#pragma unroll
    for (int distance = WARP / 2; distance; distance /= 2) {
        u64 other = __shfl_xor_sync(ALL_LANES, x, distance);
        x = other > x ? other : x;
    }
    return x;
}

// The largest of four logits after the penalties, rank before id: of equals the lowest id wins.
__device__ __forceinline__ u64 best_of(const Logits &logits, int first, const Seat &how,
                                       const u32 *counts) {
    float x[4];
    u64 best = 0;
    logits.load(first, x);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int id = first + i;
        if (counts && id < logits.vocab && counts[id])
            logits.row[id] = x[i] = how.punished(x[i], counts[id]);
        u64 own = (u64)rank_of(x[i]) << 32 | (u32)~id;
        best = own > best ? own : best;
    }
    return best;
}

extern "C" __global__ void __launch_bounds__(SURVEYORS, 6)
    survey(float *logits, const Seat *seats, const int *row_seats, int *sampled, int *context_lens,
           u32 *counts, long long *positions, long long *slots, const int *block_tables,
           int table_width, int block_size, int vocab, u32 *peaks, u64 *tops, u32 *done, u64 *race,
           const int *bias_ids, const float *bias_values, int bias_width) {
    __shared__ u64 bests[SURVEYORS / WARP];
    int row = blockIdx.y, seat = row_seats[row], context = context_lens[row];
    if (!context) return;
    const Seat &how = seats[seat];
    bool greedy = how.temperature == 0, counted = counts && how.punishes();
    Outcome outcome = {sampled,      context_lens, counts,     positions, slots,
                       block_tables, table_width,  block_size, vocab};
    Next next = outcome.next(row, context);
    Logits own = {logits + (long long)row * vocab, vocab};
    if (bias_width) {
        long long biases = (long long)seat * bias_width;
        add_bias(own, bias_ids + biases, bias_values + biases, bias_width);
    }

    const u32 *punished = counted ? counts + (long long)seat * vocab : nullptr;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = SURVEYORS / WARP;
    int groups = (vocab + GROUP - 1) / GROUP;
    u64 best = 0;
    for (int group = blockIdx.x * warps + warp; group < groups; group += gridDim.x * warps) {
        u64 peak = warp_max(best_of(own, group * GROUP + 4 * lane, how, punished));
        if (lane == 0) peaks[(long long)row * groups + group] = (u32)(peak >> 32);
        best = peak > best ? peak : best;
    }
    if (lane == 0) bests[warp] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < warps; i++) best = bests[i] > best ? bests[i] : best;
        atomicMax(race + row, best);
    }
    if (!comes_last(done + row, gridDim.x) || threadIdx.x) return;

    u64 top = atomicExch(race + row, 0ull);
    u32 rank = (u32)(top >> 32);
    bool finite = rank_of(-INFINITE) < rank && rank < rank_of(INFINITE);
    tops[row] = finite ? top : 0;
    if (!finite || greedy) outcome.write(row, seat, counted, finite ? (int)~top : -1, next);
}

// The first word of Philox-4x32-10 (Salmon et al., 2011).
__device__ __forceinline__ u32 philox(u64 counter, u64 key) {
    u32 a = (u32)counter, b = (u32)(counter >> 32), c = 0, d = 0;
    u32 low = (u32)key, high = (u32)(key >> 32);
    for (int round = 0; round < 10; round++) {
        u64 left = (u64)a * 0xD2511F53u, right = (u64)c * 0xCD9E8D57u;
        a = (u32)(right >> 32) ^ b ^ low, b = (u32)right;
        c = (u32)(left >> 32) ^ d ^ high, d = (u32)left;
        low += 0x9E3779B9u, high += 0xBB67AE85u;
    }
    return a;
}

// The least running sum that is above (word + 1/2) / 2^32 of the weight.
__device__ __forceinline__ u64 drawn(u64 weight, u32 word) {
    return __umul64hi(weight, (2ull * word + 1) << 31) + 1;
}

// The least running sum that is at least this share of the weight.
__device__ __forceinline__ u64 share_of(u64 weight, double share) {
    u64 wanted = (u64)ceil(share * (double)weight);
    return wanted < 1 ? 1 : wanted > weight ? weight : wanted;
}

// By the last block of a row. left: the weight of the tokens that min-p leaves.
__device__ __forceinline__ int pick(const Line &line, Histogram &h, List &list, const Seat &how,
                                    u64 left, int position) {
    if (threadIdx.x == 0) list.size = 0;
    Stretch all = line.whole(h, list), before = {0, 0};
    u64 weight = all.weight;
    bool kept = true;
    int found = 0;
    for (int stage = 0; stage < 3; stage++) {
        Mark mark = {~0u, ~0ull};
        if (stage == 0) {
            if (how.top_k == 0 || how.top_k >= line.logits.vocab) continue;
            mark.count = how.top_k < all.count ? (u32)how.top_k : all.count;
        } else if (stage == 1) {
            if (how.top_p == 1) continue;
            mark.weight = share_of(weight, how.top_p);
        } else {
            mark.weight = drawn(left < weight ? left : weight, philox(position, how.seed));
        }
        if (!list.reaches(mark, before)) before = line.bring(h, list, mark, kept);
        found = list.find(mark, before);
        weight = list.upto[found];
    }
    return line.id_of(list.keys[found]);
}

extern "C" __global__ void __launch_bounds__(LIST, 1)
    draw(float *logits, const Seat *seats, const int *row_seats, int *sampled, int *context_lens,
         u32 *counts, long long *positions, long long *slots, const int *block_tables,
         int table_width, int block_size, int vocab, const u32 *peaks, const u64 *tops, u32 *done,
         u64 *left, u32 *bucket_counts, u64 *bucket_weights) {
    __shared__ Histogram h;
    __shared__ List list;
    int row = blockIdx.y, seat = row_seats[row], context = context_lens[row];
    u64 top = tops[row];
    if (!context || !top) return;
    const Seat how = seats[seat];
    if (how.temperature == 0) return;
    Outcome outcome = {sampled,      context_lens, counts,     positions, slots,
                       block_tables, table_width,  block_size, vocab};
    Next next = outcome.next(row, context);
    bucket_counts += (long long)row * BUCKETS;
    bucket_weights += (long long)row * BUCKETS;
    Line line = {{logits + (long long)row * vocab, vocab}, nullptr, bucket_counts, bucket_weights};
    line.peaks = peaks + (long long)row * line.groups();
    line.top = value_of((u32)(top >> 32));
    line.steps_per_logit = 1.4426950408889634 * (1ull << HALVING_BITS) / how.temperature;
    double deepest = -log2(how.min_p) * (1ull << HALVING_BITS);  // infinite where min-p is off
    line.deepest = deepest < MOST_STEPS ? (u64)deepest : MOST_STEPS;
    line.ordered = (how.top_k > 0 && how.top_k < vocab) || how.top_p < 1;

    h.clear();
    __syncthreads();
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u64 own = warp_sum(line.tally(h, 0, 64 - BUCKET_BITS, blockIdx.x, gridDim.x));
    if (lane == 0) list.scratch[warp] = own;
    __syncthreads();
    own = warp_sum(list.scratch[lane]);
    if (threadIdx.x == 0) atomicAdd(left + row, own);
    for (int i = threadIdx.x; i < BUCKETS; i += LIST) {
        if (!h.count[i]) continue;
        atomicAdd(bucket_counts + i, h.count[i]);
        atomicAdd(bucket_weights + i, h.weight(i));
    }
    if (!comes_last(done + row, gridDim.x)) return;

    int token = pick(line, h, list, how, left[row], context);
    __syncthreads();
    for (int i = threadIdx.x; i < BUCKETS; i += LIST) bucket_counts[i] = 0, bucket_weights[i] = 0;
    if (threadIdx.x) return;
    left[row] = 0;
    outcome.write(row, seat, counts && how.punishes(), token, next);
}
