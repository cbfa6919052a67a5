// From class logits to what NMS leaves of each class of each image.
#pragma once

#include "classwise_nms/device/plan.cuh"
#include "common/device/nms.cuh"

#include <cstdint>

namespace maskline
{
namespace // kernels are this file's own, so that no other op's can be linked in their place
{

//! Maximum of a row's logits and sum of its softmax terms, a warp a row. Grid: B*R / 8.
__global__ void __launch_bounds__(kROW_THREADS) rowKernel(DetectionPlan const plan, std::int64_t rows)
{
    std::int64_t const row = static_cast<std::int64_t>(blockIdx.x) * (kROW_THREADS / kWARP) + warpId();
    if (row >= rows)
    {
        return;
    }
    float const* const logits = plan.buffers.classLogits + row * (plan.classes + 1);
    float maximum = -INFINITY;
    for (int i = laneId(); i <= plan.classes; i += kWARP)
    {
        maximum = greatest(maximum, logits[i]);
    }
    for (int reach = kWARP / 2; reach > 0; reach /= 2)
    {
        maximum = greatest(maximum, __shfl_xor_sync(kALL_LANES, maximum, reach));
    }
    float sum = 0.F; // in the order of kSOFTMAX_LANES
    for (int i = laneId(); i <= plan.classes; i += kWARP)
    {
        sum += softmaxTerm(logits[i], maximum);
    }
    for (int reach = kWARP / 2; reach > 0; reach /= 2)
    {
        sum += __shfl_xor_sync(kALL_LANES, sum, reach);
    }
    if (laneId() == 0)
    {
        plan.maxima[row] = maximum;
        plan.sums[row] = sum;
    }
}

//! Appends a group's candidates to `candidates`, in any order. `count` is in shared memory and 0.
__device__ __forceinline__ void findCandidates(
    DetectionPlan const& plan, int image, int label, std::uint64_t* candidates, unsigned& count)
{
    int const rows = rowsOf(plan, image);
    for (int row = static_cast<int>(threadIdx.x); row < rows; row += kCLASS_THREADS)
    {
        std::int64_t const place = static_cast<std::int64_t>(image) * plan.rows + row;
        float const logit = plan.buffers.classLogits[place * (plan.classes + 1) + label];
        float const score = softmaxTerm(logit, plan.maxima[place]) / plan.sums[place];
        if (score > plan.scoreThresh)
        {
            auto const index = static_cast<std::uint32_t>(row) * static_cast<std::uint32_t>(plan.classes);
            candidates[atomicAdd(&count, 1U)]
                = candidateOf(bestFirstKey(score), index + static_cast<std::uint32_t>(label));
        }
    }
    __syncthreads();
}

//! Sorts `count` candidates in place; there is room for sortSize(count).
__device__ __forceinline__ void sortInPlace(std::uint64_t* candidates, int count)
{
    int const size = sortSize(count);
    for (int i = count + static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x))
    {
        candidates[i] = kLAST_KEY;
    }
    __syncthreads();
    blockSort(candidates, size);
}

//! Greedy NMS of a group's sorted candidates; keys of those that stay go to plan.kept. Returns how many stay.
__device__ __forceinline__ int keepBest(DetectionPlan const& plan, int image, std::int64_t group,
    std::uint64_t const* candidates, int count, Box* keptBoxes, float* keptAreas)
{
    __shared__ NmsChunk chunk;
    __shared__ Box boxes[kCLASS_THREADS];
    auto const thread = static_cast<int>(threadIdx.x);
    float const height = plan.buffers.imageInfo[6 * image];
    float const width = plan.buffers.imageInfo[6 * image + 1];
    int kept = 0;
    for (int first = 0; first < count && kept < plan.most; first += kWARP)
    {
        if (first % kCLASS_THREADS == 0)
        {
            // All threads decode what the next chunks need.
            if (first + thread < count)
            {
                boxes[thread] = boxOf(plan, image, static_cast<std::uint32_t>(candidates[first + thread]));
            }
            __syncthreads();
        }
        if (thread < kWARP)
        {
            bool const real = first + thread < count;
            Box const box = real ? boxes[first % kCLASS_THREADS + thread] : Box{};
            chunk.boxes[thread] = box;
            chunk.areas[thread] = areaOf(box);
            chunk.valid[thread] = real && isLargeEnough(box, plan.minSide, height, width);
        }
        __syncthreads();
        int const after = blockNmsChunk(chunk, keptBoxes, keptAreas, kept, plan.most, plan.nmsThresh);
        if (thread < kWARP && (chunk.kept >> thread & 1U) != 0)
        {
            plan.kept[group * plan.most + kept + __popc(chunk.kept & lanesBelow(thread))] = candidates[first + thread];
        }
        kept = after;
    }
    return kept;
}

//! A class of an image: candidates, sort, NMS. Grid: groups.
__global__ void __launch_bounds__(kCLASS_THREADS) classKernel(DetectionPlan const plan)
{
    __shared__ std::uint64_t fast[kCLASS_CAPACITY];
    __shared__ Box boxes[kKEPT_CAPACITY];
    __shared__ float areas[kKEPT_CAPACITY];
    __shared__ unsigned found;
    std::int64_t const group = blockIdx.x;
    int const image = static_cast<int>(group / plan.classes);
    int const label = static_cast<int>(group % plan.classes);
    if (threadIdx.x == 0)
    {
        found = 0;
    }
    __syncthreads();
    std::uint64_t const* candidates = fast;
    if (plan.rows <= kCLASS_CAPACITY)
    {
        findCandidates(plan, image, label, fast, found);
        sortInPlace(fast, static_cast<int>(found));
    }
    else
    {
        std::uint64_t* const slow = plan.candidates + group * sortSize(plan.rows);
        findCandidates(plan, image, label, slow, found);
        sortInPlace(slow, static_cast<int>(found));
        candidates = slow;
    }
    auto const count = static_cast<int>(found);
    int const kept = plan.most <= kKEPT_CAPACITY
        ? keepBest(plan, image, group, candidates, count, boxes, areas)
        : keepBest(plan, image, group, candidates, count, plan.keptBoxes + group * plan.most,
              plan.keptAreas + group * plan.most);
    if (threadIdx.x == 0)
    {
        plan.numKept[group] = kept;
    }
}

} // namespace
} // namespace maskline
