// Runs our CUDA kernels on a CPU: the very .cu files, compiled by the host compiler against this header.
//
// Each thread of a block is a fiber. A fiber runs until it meets a barrier or a warp collective; when every thread
// that must take part has arrived, all of them go on. Threads and blocks take their turns in a random order that a
// seed decides, so a kernel that leans on an order, forgets a barrier, or lets lanes of a collective diverge gives a
// wrong answer or an error here, without a GPU. What it does not model: speed, real concurrency of blocks, the memory
// model, and the width of memory transactions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#undef __global__
#undef __device__
#undef __shared__
#undef __launch_bounds__
#undef __forceinline__
#define __global__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __forceinline__ inline
#define MASKLINE_DYNAMIC_SHARED(TYPE, NAME) TYPE* const NAME = static_cast<TYPE*>(::simt::dynamicShared())

namespace simt
{

//! Runs `thread` once for each thread of the grid.
//!
//! @return cudaSuccess; cudaErrorInvalidConfiguration for a grid, block or shared size that no GPU takes;
//!     cudaErrorLaunchFailure when threads wait for each other for ever or lanes of a collective diverge (the text
//!     goes to stderr).
cudaError_t run(dim3 grid, dim3 block, std::size_t sharedBytes, std::function<void()> const& thread);

//! Decides the order of threads and blocks from now on.
void setSeed(std::uint64_t seed) noexcept;

//! The dynamic shared memory of the running block, filled with 0xCD bytes when the block starts.
void* dynamicShared() noexcept;

//! Waits for all threads of the block that have not ended.
void blockBarrier();

//! Waits for the lanes of `mask` and gives each the value of lane `source`.
std::uint64_t exchange(unsigned mask, std::uint64_t value, int source);

//! Waits for the lanes of `mask` and gives each the bits of those whose predicate holds.
unsigned ballot(unsigned mask, bool predicate);

//! This thread's lane, 0..31.
int lane() noexcept;

} // namespace simt

extern thread_local uint3 threadIdx;
extern thread_local uint3 blockIdx;
extern thread_local dim3 blockDim;
extern thread_local dim3 gridDim;
constexpr int warpSize = 32;

inline void __syncthreads()
{
    simt::blockBarrier();
}

inline void __syncwarp(unsigned mask = 0xffffffffU)
{
    simt::ballot(mask, false);
}

inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return simt::ballot(mask, predicate != 0);
}

inline int __any_sync(unsigned mask, int predicate)
{
    return simt::ballot(mask, predicate != 0) != 0;
}

inline int __all_sync(unsigned mask, int predicate)
{
    return simt::ballot(mask, predicate == 0) == 0;
}

namespace simt
{

template <typename T>
T exchangeAs(unsigned mask, T value, int source)
{
    static_assert(sizeof(T) <= sizeof(std::uint64_t) && std::is_trivially_copyable<T>::value, "at most 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = exchange(mask, bits, source);
    T received;
    std::memcpy(&received, &bits, sizeof(T));
    return received;
}

} // namespace simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize)
{
    int const first = simt::lane() / width * width;
    return simt::exchangeAs(mask, value, first + source % width);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize)
{
    int const lane = simt::lane();
    int const source = lane - static_cast<int>(delta);
    return simt::exchangeAs(mask, value, source < lane / width * width ? lane : source);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize)
{
    int const lane = simt::lane();
    int const source = lane + static_cast<int>(delta);
    return simt::exchangeAs(mask, value, source >= (lane / width + 1) * width ? lane : source);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int laneMask, int width = warpSize)
{
    int const lane = simt::lane();
    int const source = lane ^ laneMask;
    return simt::exchangeAs(mask, value, source >= (lane / width + 1) * width ? lane : source);
}

// Fibers never interrupt one another inside an operation, so plain reads and writes are atomic.
template <typename T>
T atomicAdd(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = static_cast<T>(before + value);
    return before;
}

template <typename T>
T atomicMax(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = before < value ? value : before;
    return before;
}

template <typename T>
T atomicMin(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = value < before ? value : before;
    return before;
}

template <typename T>
T atomicOr(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = before | value;
    return before;
}

template <typename T>
T atomicAnd(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = before & value;
    return before;
}

template <typename T>
T atomicExch(T* address, std::common_type_t<T> value)
{
    T const before = *address;
    *address = value;
    return before;
}

template <typename T>
T atomicCAS(T* address, std::common_type_t<T> compare, std::common_type_t<T> value)
{
    T const before = *address;
    *address = before == compare ? value : before;
    return before;
}

inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T>
T __ldg(T const* address)
{
    return *address;
}

inline int __popc(unsigned value)
{
    return __builtin_popcount(value);
}

inline int __popcll(unsigned long long value)
{
    return __builtin_popcountll(value);
}

inline int __ffs(int value)
{
    return __builtin_ffs(value);
}

inline int __ffsll(long long value)
{
    return __builtin_ffsll(value);
}

inline int __clz(int value)
{
    return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value));
}

inline int __clzll(long long value)
{
    return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}

inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

inline int __float_as_int(float value)
{
    return static_cast<int>(__float_as_uint(value));
}

inline float __int_as_float(int bits)
{
    return __uint_as_float(static_cast<unsigned>(bits));
}
