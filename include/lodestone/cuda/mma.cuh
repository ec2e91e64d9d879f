// Instructions of the tensor cores and of asynchronous copies (sm_80 and up), one function each.
#pragma once

#ifndef __CUDACC__
#error "mma.cuh holds device code: include it from a .cu file"
#endif

#include <cstdint>

namespace lodestone::on_cuda::ptx {

/// The address of shared memory as the instructions below take it.
[[nodiscard]] __device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Fragments of m16n8k16, lane = 4 g + t (g < 8, t < 4), two bf16 a register, the lower column in the lower half:
//   A [16 x 16]  a0 (g, 2t)  a1 (g + 8, 2t)  a2 (g, 2t + 8)  a3 (g + 8, 2t + 8)
//   B [16 x 8]   b0 (2t, g)  b1 (2t + 8, g): rows 2t and 2t + 1 share a register
//   C [16 x 8]   c0 (g, 2t)  c1 (g, 2t + 1)  c2 (g + 8, 2t)  c3 (g + 8, 2t + 1)
// so C of two neighbouring 8-column blocks is, rounded to bf16, A of the next product.

/// c += a b.
__device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8 x 8 matrices of bf16: lane 8 i + r gives the address of row r of matrix i; lane 4 g + t gets (g, 2t) of each.
__device__ __forceinline__ void ldmatrix(unsigned (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from));
}
/// The same, each matrix transposed: lane 4 g + t gets (2t, g) and (2t + 1, g).
__device__ __forceinline__ void ldmatrix_transposed(unsigned (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from));
}
/// Two matrices, whose rows the lanes below 16 address.
__device__ __forceinline__ void ldmatrix_transposed(unsigned (&to)[2], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(from));
}

/// Copies 16 bytes to shared memory past the registers and L1; zeros instead of bytes when is_read is false.
__device__ __forceinline__ void copy_async_16(unsigned to, const void* from, bool is_read) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(is_read ? 16 : 0)
               : "memory");
}
/// Copies 4 bytes.
__device__ __forceinline__ void copy_async_4(unsigned to, const void* from, bool is_read) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(is_read ? 4 : 0) : "memory");
}
/// Closes a group of copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `Pending` groups of this thread are on their way; a barrier makes the others' copies visible.
template <int Pending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// A kernel that launch_in_line (access.cuh) puts on a lane may begin while the one before it still runs. It calls
// await_previous() before it reads or writes anything but its arguments and tables that were copied to the device;
// until then it may ask for what it will read to be brought to L2, which holds no stale bytes. A kernel of little work
// calls let_next_begin() first of all, one that reads much when it has read it: what is brought to L2 too early is gone
// again when it is wanted.

/// The next kernel of the lane may begin once every block has said so or is done.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Waits until all kernels before this one are done and what they wrote can be read.
__device__ __forceinline__ void await_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// Asks for `bytes`, a multiple of 16 as the address is, to be brought to L2.
__device__ __forceinline__ void prefetch(const void* from, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}

/// 16 bytes that nobody reads again: past L1, two lines at a time to L2.
[[nodiscard]] __device__ __forceinline__ uint4 load_once(const void* from) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// threadIdx.x, read anew at each call: what is computed from it does not occupy registers outside its use.
[[nodiscard]] __device__ __forceinline__ int thread_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

/// A barrier of `threads` threads; barrier 0 is that of __syncthreads.
__device__ __forceinline__ void barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void store_shared(unsigned to, const unsigned (&values)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(values[0]), "r"(values[1]), "r"(values[2]),
               "r"(values[3])
               : "memory");
}
__device__ __forceinline__ void store_shared(unsigned to, unsigned value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}
__device__ __forceinline__ void load_shared(unsigned (&to)[4], unsigned from) {
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from)
               : "memory");
}
__device__ __forceinline__ float2 load_shared_pair(unsigned from) {
  float2 pair;
  asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(pair.x), "=f"(pair.y) : "r"(from) : "memory");
  return pair;
}

/// Adds two neighbouring floats to global memory, atomically each.
__device__ __forceinline__ void add_global(float* to, float x, float y) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v2.f32 [%0], {%1,%2};" ::"l"(to), "f"(x), "f"(y) : "memory");
#else
  asm volatile("red.global.add.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory");
  asm volatile("red.global.add.f32 [%0], %1;" ::"l"(to + 1), "f"(y) : "memory");
#endif
}

/// 2^x: 2 ulp, 0 for -infinity.
[[nodiscard]] __device__ __forceinline__ float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two floats as bf16, rounded to nearest even.
[[nodiscard]] __device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace lodestone::on_cuda::ptx
