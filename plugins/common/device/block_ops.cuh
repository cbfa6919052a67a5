// What a block of threads does together: sums and sorts of 64-bit keys. Every function is called by all
// threads of the block, whose number is a multiple of 32, and ends with a barrier unless it says otherwise.
//
// Results never depend on the order in which threads run: keys are distinct, and what atomics put in any order is
// sorted afterwards.
#pragma once

#include "common/device/launch.h"
#include "common/host_device.h"

#include <cstdint>

namespace maskline
{

constexpr int kWARP = 32;
constexpr unsigned kALL_LANES = 0xffffffffU;
constexpr std::uint64_t kLAST_KEY = ~std::uint64_t{0}; //!< sorts behind every candidate

__device__ inline int laneId()
{
    return static_cast<int>(threadIdx.x) % kWARP;
}

__device__ inline int warpId()
{
    return static_cast<int>(threadIdx.x) / kWARP;
}

__device__ inline int warpCount()
{
    return static_cast<int>(blockDim.x) / kWARP;
}

//! The bits below a lane's own.
__device__ inline unsigned lanesBelow(int lane)
{
    return (1U << lane) - 1U;
}

//! Sum of the lanes up to and including this one.
__device__ inline unsigned warpInclusiveSum(unsigned value)
{
    for (int delta = 1; delta < kWARP; delta *= 2)
    {
        unsigned const before = __shfl_up_sync(kALL_LANES, value, static_cast<unsigned>(delta));
        value += laneId() >= delta ? before : 0U;
    }
    return value;
}

//! Sum of `value` over the threads before this one.
//!
//! @param shared 33 numbers; [32] is the sum over the whole block afterwards.
__device__ inline unsigned blockExclusiveSum(unsigned value, unsigned* shared)
{
    unsigned const inclusive = warpInclusiveSum(value);
    __syncthreads();
    if (laneId() == kWARP - 1)
    {
        shared[warpId()] = inclusive;
    }
    __syncthreads();
    if (warpId() == 0)
    {
        unsigned const warpSum = laneId() < warpCount() ? shared[laneId()] : 0U;
        unsigned const sums = warpInclusiveSum(warpSum);
        shared[laneId()] = sums - warpSum;
        if (laneId() == kWARP - 1)
        {
            shared[kWARP] = sums;
        }
    }
    __syncthreads();
    return shared[warpId()] + inclusive - value;
}

//! The smallest power of two that is at least `count` and at least 32.
MASKLINE_HD int sortSize(int count)
{
    int size = kWARP;
    while (size < count)
    {
        size *= 2;
    }
    return size;
}

//! One step of a bitonic network between lanes `stride` apart.
__device__ inline std::uint64_t exchangeLanes(std::uint64_t key, int stride, bool ascending)
{
    std::uint64_t const other = __shfl_xor_sync(kALL_LANES, key, stride);
    bool const keepsLower = ((laneId() & stride) == 0) == ascending;
    return (other < key) == keepsLower ? other : key;
}

//! Merges runs of `run` keys within each 32 by shuffles, from stride `firstStride` down; no barrier.
__device__ __forceinline__ void sortWithinWarps(std::uint64_t* keys, int count, int firstRun, int lastRun)
{
    for (int first = warpId() * kWARP; first < count; first += static_cast<int>(blockDim.x))
    {
        int const index = first + laneId();
        std::uint64_t key = keys[index];
        for (int run = firstRun; run <= lastRun; run *= 2)
        {
            for (int stride = least(run, kWARP) / 2; stride > 0; stride /= 2)
            {
                key = exchangeLanes(key, stride, (index & run) == 0);
            }
        }
        keys[index] = key;
    }
}

//! Sorts `count` keys ascending by a bitonic network; `count` is a power of two of at least 32.
//!
//! @param keys in shared or global memory; barrier before the call when other threads have just written them.
__device__ __forceinline__ void blockSort(std::uint64_t* keys, int count)
{
    sortWithinWarps(keys, count, 2, kWARP);
    __syncthreads();
    for (int run = 2 * kWARP; run <= count; run *= 2)
    {
        for (int stride = run / 2; stride >= kWARP; stride /= 2)
        {
            for (int pair = static_cast<int>(threadIdx.x); pair < count / 2; pair += static_cast<int>(blockDim.x))
            {
                int const low = 2 * pair - (pair & (stride - 1));
                int const high = low + stride;
                std::uint64_t const a = keys[low];
                std::uint64_t const b = keys[high];
                if ((b < a) == ((low & run) == 0))
                {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            __syncthreads();
        }
        sortWithinWarps(keys, count, run, run);
        __syncthreads();
    }
}

//! Copies `count` keys, fills up to sortSize(count) with keys that sort last, and sorts.
__device__ __forceinline__ void blockCopyAndSort(std::uint64_t const* from, int count, std::uint64_t* keys)
{
    int const size = sortSize(count);
    for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x))
    {
        keys[i] = i < count ? from[i] : kLAST_KEY;
    }
    __syncthreads();
    blockSort(keys, size);
}

} // namespace maskline
