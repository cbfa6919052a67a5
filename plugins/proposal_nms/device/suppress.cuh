// Greedy NMS within each group.
#pragma once

#include "common/device/nms.cuh"
#include "proposal_nms/device/plan.cuh"

#include <cstdint>

namespace maskline
{
namespace // kernels are this file's own, so that no other op's can be linked in their place
{

constexpr int kPAIR_THREADS = 128;

//! Which of a chunk's 32 boxes overlap box j and are better. Grid: (pitch / 128, pitch / 32, groups).
__global__ void __launch_bounds__(kPAIR_THREADS) pairKernel(ProposalPlan const plan)
{
    __shared__ Box chunk[kWARP];
    __shared__ float areas[kWARP];
    std::int64_t const group = blockIdx.z;
    int const first = static_cast<int>(blockIdx.y) * kWARP;
    int const j = static_cast<int>(blockIdx.x * kPAIR_THREADS + threadIdx.x);
    int const count = plan.numSorted[group];
    int const tile = static_cast<int>(blockIdx.x) * kPAIR_THREADS;
    if (first >= tile + kPAIR_THREADS || first >= count || tile >= count)
    {
        return; // every j of the block is better than every i, or there are none
    }
    Box const* const boxes = plan.boxes + group * plan.pitch;
    if (threadIdx.x < kWARP && first + static_cast<int>(threadIdx.x) < count)
    {
        chunk[threadIdx.x] = boxes[first + static_cast<int>(threadIdx.x)];
        areas[threadIdx.x] = areaOf(chunk[threadIdx.x]);
    }
    __syncthreads();
    if (first > j || j >= plan.pitch)
    {
        return;
    }
    unsigned word = 0;
    if (j < count)
    {
        Box const box = boxes[j];
        float const area = areaOf(box);
        int const better = least(j - first, kWARP);
#pragma unroll 8
        for (int i = 0; i < better; ++i)
        {
            word |= overlaps(chunk[i], areas[i], box, area, plan.nmsThresh) ? 1U << i : 0U;
        }
    }
    plan.suppressors[(group * (plan.pitch / kWARP) + blockIdx.y) * plan.pitch + j] = word;
}

//! Decides chunk after chunk which boxes stay; 32 warps hold 32 chunks. Grid: groups.
//!
//! A warp's lanes know whether a box of an earlier chunk drops theirs; when its turn comes it settles its own 32, and
//! all later ones hear of it.
__global__ void __launch_bounds__(kGROUP_THREADS, 1) resolveKernel(ProposalPlan const plan)
{
    __shared__ unsigned kept[kMATRIX_LIMIT / kWARP];
    __shared__ unsigned before[kMATRIX_LIMIT / kWARP];
    __shared__ unsigned sums[kWARP + 1];
    std::int64_t const group = blockIdx.x;
    std::int64_t const base = group * plan.pitch;
    int const count = plan.numSorted[group];
    int const chunks = ceilDivide(count, kWARP);
    unsigned const* const columns = plan.suppressors + base * (plan.pitch / kWARP);
    for (int round = 0; round < chunks; round += kWARP)
    {
        int const mine = round + warpId();
        std::int64_t const j = round * kWARP + static_cast<int>(threadIdx.x);
        bool const real = mine < chunks;
        bool dropped = !real || (plan.valid[base / kWARP + mine] >> laneId() & 1U) == 0;
        unsigned words[kWARP];
#pragma unroll
        for (int chunk = 0; chunk < kWARP; ++chunk)
        {
            bool const wanted = real && chunk <= warpId();
            words[chunk] = wanted ? columns[static_cast<std::int64_t>(round + chunk) * plan.pitch + j] : 0U;
        }
        for (int chunk = 0; real && chunk < round; ++chunk)
        {
            dropped = dropped || (columns[static_cast<std::int64_t>(chunk) * plan.pitch + j] & kept[chunk]) != 0;
        }
#pragma unroll
        for (int chunk = 0; chunk < kWARP; ++chunk)
        {
            if (round + chunk >= chunks)
            {
                break;
            }
            if (warpId() == chunk)
            {
                unsigned const stay = settle(!dropped, words[chunk]);
                if (laneId() == 0)
                {
                    kept[round + chunk] = stay;
                }
            }
            __syncthreads();
            dropped = dropped || (words[chunk] & kept[round + chunk]) != 0;
        }
    }
    auto const thread = static_cast<int>(threadIdx.x);
    unsigned const sum = blockExclusiveSum(thread < chunks ? static_cast<unsigned>(__popc(kept[thread])) : 0U, sums);
    if (thread < chunks)
    {
        before[thread] = sum;
    }
    __syncthreads();
    for (int j = thread; j < count; j += kGROUP_THREADS)
    {
        unsigned const word = kept[j / kWARP];
        auto const place = static_cast<int>(before[j / kWARP]) + __popc(word & lanesBelow(j % kWARP));
        if ((word >> (j % kWARP) & 1U) != 0 && place < plan.limit)
        {
            plan.keptKeys[base + place] = plan.keys[base + j];
            plan.keptPlaces[base + place] = j;
        }
    }
    if (thread == 0)
    {
        plan.numKept[group] = least(static_cast<int>(sums[kWARP]), plan.limit);
    }
}

//! The same for groups of any size: slower, with little memory. Grid: groups.
__global__ void __launch_bounds__(kGROUP_THREADS, 1) chunkKernel(ProposalPlan const plan)
{
    __shared__ NmsChunk chunk;
    std::int64_t const group = blockIdx.x;
    std::int64_t const base = group * plan.pitch;
    int const count = plan.numSorted[group];
    auto const thread = static_cast<int>(threadIdx.x);
    int kept = 0;
    for (int first = 0; first < count && kept < plan.limit; first += kWARP)
    {
        if (thread < kWARP)
        {
            bool const real = first + thread < count;
            chunk.valid[thread] = real && (plan.valid[(base + first) / kWARP] >> thread & 1U) != 0;
            chunk.boxes[thread] = real ? plan.boxes[base + first + thread] : Box{};
            chunk.areas[thread] = areaOf(chunk.boxes[thread]);
        }
        __syncthreads();
        int const after
            = blockNmsChunk(chunk, plan.keptBoxes + base, plan.keptAreas + base, kept, plan.limit, plan.nmsThresh);
        if (thread < kWARP && (chunk.kept >> thread & 1U) != 0)
        {
            std::int64_t const place = base + kept + __popc(chunk.kept & lanesBelow(thread));
            plan.keptKeys[place] = plan.keys[base + first + thread];
            plan.keptPlaces[place] = first + thread;
        }
        kept = after;
    }
    if (thread == 0)
    {
        plan.numKept[group] = kept;
    }
}

} // namespace
} // namespace maskline
