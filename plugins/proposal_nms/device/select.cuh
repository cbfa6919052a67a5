// From logits to the best T boxes of each group, in order.
#pragma once

#include "proposal_nms/device/plan.cuh"

#include <cstdint>

namespace maskline
{
namespace // kernels are this file's own, so that no other op's can be linked in their place
{

__global__ void zeroKernel(unsigned* words, unsigned count)
{
    unsigned const i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
    {
        words[i] = 0;
    }
}

//! What one block of the kernels that read logits works on.
struct LogitSlice
{
    int level;
    int image;
    int first; //!< index of this thread's first logit in memory; further ones are kCOUNT_THREADS apart
};

__device__ inline LogitSlice logitSlice(ProposalPlan const& plan)
{
    int const block = static_cast<int>(blockIdx.x);
    int level = plan.levels - 1;
    while (plan.level[level].firstBlock > block)
    {
        --level;
    }
    int const first = (block - plan.level[level].firstBlock) * kCOUNT_BLOCK + static_cast<int>(threadIdx.x);
    return {level, static_cast<int>(blockIdx.y), first};
}

//! Keys of this thread's logits; kNAN_KEY past the end.
__device__ inline void readKeys(ProposalPlan const& plan, LogitSlice const& slice, std::uint32_t (&keys)[kCOUNT_EACH])
{
    int const count = plan.level[slice.level].count;
    float const* const logits = plan.level[slice.level].logits + static_cast<std::int64_t>(slice.image) * count;
#pragma unroll
    for (int i = 0; i < kCOUNT_EACH; ++i)
    {
        int const place = slice.first + i * kCOUNT_THREADS;
        keys[i] = place < count ? bestFirstKey(logits[place]) : kNAN_KEY;
    }
}

//! Counts the logits of each bin. Grid: (plan.blocks, B).
__global__ void __launch_bounds__(kCOUNT_THREADS) countKernel(ProposalPlan const plan)
{
    __shared__ unsigned bins[kBINS];
    LogitSlice const slice = logitSlice(plan);
    std::uint32_t keys[kCOUNT_EACH];
    readKeys(plan, slice, keys);
    for (int i = static_cast<int>(threadIdx.x); i < kBINS; i += kCOUNT_THREADS)
    {
        bins[i] = 0;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kCOUNT_EACH; ++i)
    {
        countDigit(bins, keys[i] >> kBIN_SHIFT, keys[i] != kNAN_KEY);
    }
    __syncthreads();
    unsigned* const all = plan.bins + static_cast<std::int64_t>(slice.image * plan.levels + slice.level) * kBINS;
    for (int i = static_cast<int>(threadIdx.x); i < kBINS; i += kCOUNT_THREADS)
    {
        if (bins[i] != 0)
        {
            atomicAdd(all + i, bins[i]);
        }
    }
}

//! The last bin that is needed to have `top` candidates; the last of all when there are not so many.
__device__ inline unsigned lastBin(unsigned const* bins, unsigned top)
{
    constexpr int kEACH = kBINS / kCOUNT_THREADS;
    __shared__ unsigned sums[kWARP + 1];
    __shared__ unsigned answer;
    unsigned counts[kEACH];
    unsigned sum = 0;
#pragma unroll
    for (int i = 0; i < kEACH; ++i)
    {
        counts[i] = bins[static_cast<int>(threadIdx.x) * kEACH + i];
        sum += counts[i];
    }
    if (threadIdx.x == 0)
    {
        answer = kBINS - 1;
    }
    unsigned before = blockExclusiveSum(sum, sums);
    if (before < top && top <= before + sum)
    {
        unsigned bin = threadIdx.x * kEACH;
#pragma unroll
        for (int i = 0; i < kEACH; ++i)
        {
            before += counts[i];
            bin += before < top ? 1U : 0U;
        }
        answer = bin;
    }
    __syncthreads();
    return answer;
}

//! Appends the logits of the needed bins to their group's candidates, in any order. Grid: (plan.blocks, B).
__global__ void __launch_bounds__(kCOUNT_THREADS) collectKernel(ProposalPlan const plan)
{
    LogitSlice const slice = logitSlice(plan);
    LevelPlan const& level = plan.level[slice.level];
    std::uint32_t keys[kCOUNT_EACH];
    readKeys(plan, slice, keys);
    std::int64_t const group = slice.image * plan.levels + slice.level;
    unsigned const last = lastBin(plan.bins + group * kBINS, static_cast<unsigned>(level.top));
    std::uint64_t* const candidates = plan.candidates + slice.image * plan.candidatesPerImage + level.firstCandidate;
    int const cells = level.height * level.width;
#pragma unroll
    for (int i = 0; i < kCOUNT_EACH; ++i)
    {
        bool const wanted = keys[i] != kNAN_KEY && keys[i] >> kBIN_SHIFT <= last;
        unsigned const lanes = __ballot_sync(kALL_LANES, wanted);
        if (lanes == 0)
        {
            continue;
        }
        unsigned start = 0;
        if (laneId() == 0)
        {
            start = atomicAdd(plan.found + group, static_cast<unsigned>(__popc(lanes)));
        }
        start = __shfl_sync(kALL_LANES, start, 0);
        if (wanted)
        {
            int const place = slice.first + i * kCOUNT_THREADS;
            int const anchor = place / cells;
            auto const flat = static_cast<std::uint32_t>((place - anchor * cells) * plan.anchors + anchor);
            candidates[start + __popc(lanes & lanesBelow(laneId()))] = candidateOf(keys[i], flat);
        }
    }
}

//! Sorts a group's best T candidates and decodes them. Grid: (L, B).
__global__ void __launch_bounds__(kGROUP_THREADS, 1) sortKernel(ProposalPlan const plan)
{
    __shared__ std::uint64_t fast[kSORT_CAPACITY];
    __shared__ SelectShared select;
    int const image = static_cast<int>(blockIdx.y);
    LevelPlan const& level = plan.level[blockIdx.x];
    std::int64_t const group = image * plan.levels + static_cast<int>(blockIdx.x);
    auto const found = static_cast<int>(plan.found[group]);
    std::uint64_t const* const candidates = plan.candidates + image * plan.candidatesPerImage + level.firstCandidate;
    std::uint64_t* const slow = plan.sorted + group * (plan.pitch > kSORT_CAPACITY ? sortSize(plan.pitch) : 0);
    std::uint64_t const* const sorted = blockLowest(candidates, found, level.top, fast, slow, select);
    int const count = least(found, level.top);
    if (threadIdx.x == 0)
    {
        plan.numSorted[group] = count;
    }
    ProposalLevel const source = levelOf(plan, level, image);
    float const height = plan.imageInfo[6 * image];
    float const width = plan.imageInfo[6 * image + 1];
    for (int i = static_cast<int>(threadIdx.x); i < plan.pitch; i += kGROUP_THREADS)
    {
        bool valid = false;
        if (i < count)
        {
            std::uint64_t const candidate = sorted[i];
            auto const flat = static_cast<std::int32_t>(candidate & 0xffffffffU);
            Box const box = proposalAt(
                source, plan.corners + static_cast<int>(blockIdx.x) * plan.anchors, plan.anchors, flat, height, width);
            valid = isLargeEnough(box, plan.minSide, height, width);
            plan.boxes[group * plan.pitch + i] = box;
            plan.keys[group * plan.pitch + i] = static_cast<std::uint32_t>(candidate >> 32);
        }
        // The pitch is a multiple of 32, so whole warps come here.
        unsigned const word = __ballot_sync(kALL_LANES, valid);
        if (laneId() == 0)
        {
            plan.valid[(group * plan.pitch + i) / kWARP] = word;
        }
    }
}

} // namespace
} // namespace maskline
