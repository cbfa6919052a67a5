// The lowest of many distinct 64-bit keys, in order, by one block; the rules of block_ops.cuh hold.
#pragma once

#include "common/device/block_ops.cuh"

#include <cstdint>

namespace maskline
{

constexpr int kSELECT_BITS = 8;
constexpr int kSELECT_BINS = 1 << kSELECT_BITS;

//! What blockSelect keeps in shared memory.
struct SelectShared
{
    unsigned bins[kSELECT_BINS];
    unsigned bin;    //!< the digit found
    unsigned before; //!< keys in lower bins
    unsigned inside; //!< keys in this one
    unsigned taken;  //!< slots given out
};

//! Counts one digit of each key of this warp; lanes with `counts` false take no part.
__device__ inline void countDigit(unsigned* bins, unsigned digit, bool counts)
{
    // Where all logits are alike, one lane counts for all: the atomics would queue up on one address.
    unsigned const leader = __shfl_sync(kALL_LANES, digit, 0);
    if (__all_sync(kALL_LANES, counts && digit == leader))
    {
        if (laneId() == 0)
        {
            atomicAdd(bins + digit, 32U);
        }
    }
    else if (counts)
    {
        atomicAdd(bins + digit, 1U);
    }
}

//! Warp 0 finds the bin in which the `wanted`-th key (from 1) lies.
__device__ inline void findBin(SelectShared& shared, unsigned wanted)
{
    constexpr int kEACH = kSELECT_BINS / kWARP;
    unsigned sum = 0;
    for (int i = 0; i < kEACH; ++i)
    {
        sum += shared.bins[laneId() * kEACH + i];
    }
    unsigned before = warpInclusiveSum(sum) - sum;
    if (before < wanted && wanted <= before + sum)
    {
        int bin = laneId() * kEACH;
        while (before + shared.bins[bin] < wanted)
        {
            before += shared.bins[bin++];
        }
        shared.bin = static_cast<unsigned>(bin);
        shared.before = before;
        shared.inside = shared.bins[bin];
    }
}

//! A bound that exactly `wanted` of `count` distinct keys are at or below; 0 < wanted <= count.
__device__ inline std::uint64_t blockSelectBound(
    std::uint64_t const* keys, int count, unsigned wanted, SelectShared& shared)
{
    std::uint64_t prefix = 0;
    int const rounded = ceilDivide(count, kWARP) * kWARP; // whole warps, so that they can vote
    for (int shift = 64 - kSELECT_BITS; shift >= 0; shift -= kSELECT_BITS)
    {
        for (int i = static_cast<int>(threadIdx.x); i < kSELECT_BINS; i += static_cast<int>(blockDim.x))
        {
            shared.bins[i] = 0;
        }
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < rounded; i += static_cast<int>(blockDim.x))
        {
            std::uint64_t const key = i < count ? keys[i] : kLAST_KEY;
            // The digits above this one, compared without a shift by 64.
            bool const counts = i < count && ((key ^ prefix) >> shift) < kSELECT_BINS;
            countDigit(shared.bins, static_cast<unsigned>(key >> shift) % kSELECT_BINS, counts);
        }
        __syncthreads();
        if (warpId() == 0)
        {
            findBin(shared, wanted);
        }
        __syncthreads();
        prefix |= static_cast<std::uint64_t>(shared.bin) << shift;
        wanted -= shared.before;
        bool const exact = wanted == shared.inside;
        __syncthreads();
        if (exact)
        {
            return prefix | ((std::uint64_t{1} << shift) - 1);
        }
    }
    return prefix;
}

//! Copies the `wanted` lowest of `count` keys, sorted ascending.
//!
//! @param to room for sortSize(wanted) keys.
__device__ __forceinline__ void blockSelectAndSort(
    std::uint64_t const* keys, int count, int wanted, std::uint64_t* to, SelectShared& shared)
{
    std::uint64_t const bound = blockSelectBound(keys, count, static_cast<unsigned>(wanted), shared);
    if (threadIdx.x == 0)
    {
        shared.taken = 0;
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
    {
        if (keys[i] <= bound)
        {
            to[atomicAdd(&shared.taken, 1U)] = keys[i];
        }
    }
    int const size = sortSize(wanted);
    for (int i = wanted + static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x))
    {
        to[i] = kLAST_KEY;
    }
    __syncthreads();
    blockSort(to, size);
}

//! Keys that a block sorts in shared memory: 32 KiB.
constexpr int kSORT_CAPACITY = 4096;

//! The `wanted` lowest of `count` keys in order; `wanted` may be larger.
//!
//! @param keys in global memory.
//! @param fast kSORT_CAPACITY keys of shared memory.
//! @param slow sortSize(wanted) keys of global memory; used when both numbers are above kSORT_CAPACITY.
//! @return `fast` or `slow`: at least min(wanted, count) sorted keys.
__device__ __forceinline__ std::uint64_t const* blockLowest(
    std::uint64_t const* keys, int count, int wanted, std::uint64_t* fast, std::uint64_t* slow, SelectShared& shared)
{
    if (count <= kSORT_CAPACITY)
    {
        blockCopyAndSort(keys, count, fast);
        return fast;
    }
    if (wanted <= kSORT_CAPACITY)
    {
        blockSelectAndSort(keys, count, wanted, fast, shared);
        return fast;
    }
    if (count <= wanted)
    {
        blockCopyAndSort(keys, count, slow);
        return slow;
    }
    blockSelectAndSort(keys, count, wanted, slow, shared);
    return slow;
}

} // namespace maskline
