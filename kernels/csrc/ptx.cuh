// Instructions that CUDA C++ has no word for: one small function each, nothing else.
// Sources: PTX ISA. All of them exist on sm_80; none needs a header of the toolkit.
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ __forceinline__ float f16_to_f32(u16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

__device__ __forceinline__ u16 f32_to_f16(float x) {
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ u16 f32_to_bf16(float x) {
    u16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

// Two numbers in 32 bits, `low` in the low half.
__device__ __forceinline__ u32 pack_f16(float low, float high) {
    u32 y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

__device__ __forceinline__ u32 pack_bf16(float low, float high) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// __syncthreads among the first `threads` threads of a block that call it. One such barrier at most.
__device__ __forceinline__ void sync_first(int threads) {
    asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

// Copy 16 bytes from global to shared memory without a register in between; not through L1.
__device__ __forceinline__ void cp_async_16(void *shared, const void *global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     (u32)__cvta_generic_to_shared(shared)),
                 "l"(global)
                 : "memory");
}

// As cp_async_16, but writes zeros (and reads nothing) where `valid` is false.
__device__ __forceinline__ void cp_async_16_or_zero(void *shared, const void *global, bool valid) {
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (u32)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(bytes)
                 : "memory");
}

// Copies of this thread since the last commit become one group.
__device__ __forceinline__ void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Until at most `pending` of this thread's newest groups are still under way.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Four 8x8 matrices of 16-bit numbers: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], const void *shared_row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((u32)__cvta_generic_to_shared(shared_row))
                 : "memory");
}

// The same, each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], const void *shared_row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((u32)__cvta_generic_to_shared(shared_row))
                 : "memory");
}

// c[16x8] += a[16x16] · b[16x8], one warp, fp32 sums. With g = lane / 4 and t = lane % 4:
// a[0..3] hold (row g, k 2t..), (row g+8, k 2t..), (row g, k 2t+8..), (row g+8, k 2t+8..);
// b[0..1] hold (k 2t.., column g), (k 2t+8.., column g);
// c[0..3] hold (row g, column 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1).
__device__ __forceinline__ void mma_f16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same with sums in fp16: c[0] holds row g, c[1] row g+8, columns 2t and 2t+1.
__device__ __forceinline__ void mma_f16_f16(u32 (&c)[2], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 "
        "{%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"
        : "+r"(c[0]), "+r"(c[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 16 bytes that are read once: not kept in L1.
__device__ __forceinline__ uint4 load_stream(const void *global) {
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(global));
    return v;
}

// A word that other blocks write and read while the kernel runs: always from and to L2.
__device__ __forceinline__ u64 load_shared_word(const u64 *global) {
    u64 v;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(global) : "memory");
    return v;
}

// Two neighbouring words, 16-byte aligned. Each is read whole, not both at one time.
__device__ __forceinline__ void load_shared_words(const u64 *global, u64 &first, u64 &second) {
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(first), "=l"(second)
                 : "l"(global)
                 : "memory");
}

// 2 to the x, to 2 units in the last place; denormal results are 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Have the cache line at an address come to L2.
__device__ __forceinline__ void prefetch_l2(const void *global) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

__device__ __forceinline__ void store_shared_word(u64 *global, u64 v) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(global), "l"(v) : "memory");
}

// Two neighbouring words, 16-byte aligned. Each is written whole, not both at one time.
__device__ __forceinline__ void store_shared_words(u64 *global, u64 first, u64 second) {
    asm volatile("st.relaxed.gpu.global.v2.u64 [%0], {%1, %2};" ::"l"(global), "l"(first), "l"(second)
                 : "memory");
}

// Add to a counter so that whoever sees the sum also sees all that this thread wrote before,
// and see what those wrote that added before. Returns the old value.
__device__ __forceinline__ u32 add_acq_rel(u32 *global, u32 v) {
    u32 old;
    asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;"
                 : "=r"(old)
                 : "l"(global), "r"(v)
                 : "memory");
    return old;
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
// Hopper's copy engine, with barriers in shared memory that count the bytes that have come. Its
// copies stand in no queue with the loads of a multiprocessor's threads.

__device__ __forceinline__ void barrier_init(u64 *barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"((u32)__cvta_generic_to_shared(barrier)),
                 "r"(arrivals)
                 : "memory");
}

// After the barriers of a block are made, before the copy engine is told of them.
__device__ __forceinline__ void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Arrive, and say that so many bytes will come.
__device__ __forceinline__ void barrier_expect(u64 *barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(
                     (u32)__cvta_generic_to_shared(barrier)),
                 "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void barrier_wait(u64 *barrier, u32 parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again%=:\n"
                 "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again%=;\n"
                 "}" ::"r"((u32)__cvta_generic_to_shared(barrier)),
                 "r"(parity)
                 : "memory");
}

__device__ __forceinline__ void barrier_arrive(u64 *barrier) {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"((u32)__cvta_generic_to_shared(barrier))
                 : "memory");
}

// Whether the barrier is past its phase of that parity; does not wait.
__device__ __forceinline__ bool barrier_is_past(u64 *barrier, u32 parity) {
    u32 past;
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "mbarrier.test_wait.parity.shared.b64 done, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, done;\n"
                 "}"
                 : "=r"(past)
                 : "r"((u32)__cvta_generic_to_shared(barrier)), "r"(parity)
                 : "memory");
    return past;
}

// A multiple of 16 bytes, from a 16-byte aligned address.
__device__ __forceinline__ void bulk_copy(void *shared, const void *global, u32 bytes,
                                          u64 *barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"((u32)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(bytes), "r"((u32)__cvta_generic_to_shared(barrier))
                 : "memory");
}
#else
// Older GPUs have no such engine, and never run what calls these (see kernels/cuda/decode_token.py);
// the files that do must compile all the same.
__device__ __forceinline__ void barrier_init(u64 *, u32) { __trap(); }
__device__ __forceinline__ void barrier_init_fence() { __trap(); }
__device__ __forceinline__ void barrier_expect(u64 *, u32) { __trap(); }
__device__ __forceinline__ void barrier_wait(u64 *, u32) { __trap(); }
__device__ __forceinline__ void barrier_arrive(u64 *) { __trap(); }
__device__ __forceinline__ bool barrier_is_past(u64 *, u32) {
    __trap();
    return false;
}
__device__ __forceinline__ void bulk_copy(void *, const void *, u32, u64 *) { __trap(); }
#endif
