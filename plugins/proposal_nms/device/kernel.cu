// ProposalNMS: queues the kernels of select.cuh and suppress.cuh, and joins the levels.

#include "proposal_nms/device/kernel.h"

#include "common/device/workspace.h"
#include "proposal_nms/anchors.h"
#include "proposal_nms/device/select.cuh"
#include "proposal_nms/device/suppress.cuh"

#include <algorithm>

namespace maskline
{
namespace
{

constexpr int kJOIN_CAPACITY = 8192; //!< keys of all levels in shared memory: 32 KiB

//! How many of `count` ascending keys are lower than `key`, or no higher.
__device__ inline int countBelow(std::uint32_t const* keys, int count, std::uint32_t key, bool orEqual)
{
    int low = 0;
    while (count > 0)
    {
        int const half = count / 2;
        std::uint32_t const middle = keys[low + half];
        bool const below = middle < key || (orEqual && middle == key);
        low += below ? half + 1 : 0;
        count = below ? count - half - 1 : half;
    }
    return low;
}

//! Writes a level's boxes to the rows that they have among all levels: own place, and how many of the others come
//! first.
//!
//! @param keys kept keys of all levels, level i from first[i] on.
__device__ __forceinline__ void writeRows(ProposalPlan const& plan, int image, int level, std::uint32_t const* keys,
    std::int64_t const* first, int const* counts)
{
    std::int64_t const base = static_cast<std::int64_t>(image * plan.levels + level) * plan.pitch;
    for (int i = static_cast<int>(threadIdx.x); i < counts[level]; i += kGROUP_THREADS)
    {
        std::uint32_t const key = keys[first[level] + i];
        std::int64_t row = i;
        for (int other = 0; other < plan.levels; ++other)
        {
            // Ties: the lower level comes first.
            row += other == level ? 0 : countBelow(keys + first[other], counts[other], key, other < level);
        }
        if (row < plan.limit)
        {
            Box const box = plan.boxes[base + plan.keptPlaces[base + i]];
            float* const out = plan.proposals + 4 * (static_cast<std::int64_t>(image) * plan.limit + row);
            out[0] = box.x0;
            out[1] = box.y0;
            out[2] = box.x1;
            out[3] = box.y1;
        }
    }
}

//! The best R of all levels. Grid: (L, B).
__global__ void __launch_bounds__(kGROUP_THREADS, 1) joinKernel(ProposalPlan const plan)
{
    __shared__ std::uint32_t fast[kJOIN_CAPACITY];
    int const level = static_cast<int>(blockIdx.x);
    int const image = static_cast<int>(blockIdx.y);
    int counts[ProposalNMSAttributes::kMAX_LEVELS];
    std::int64_t first[ProposalNMSAttributes::kMAX_LEVELS];
    std::int64_t const group = static_cast<std::int64_t>(image) * plan.levels;
    std::int64_t total = 0;
#pragma unroll
    for (int i = 0; i < ProposalNMSAttributes::kMAX_LEVELS; ++i)
    {
        counts[i] = i < plan.levels ? plan.numKept[group + i] : 0;
        first[i] = total;
        total += counts[i];
    }
    std::uint32_t const* const keys = plan.keptKeys + group * plan.pitch;
    if (total <= kJOIN_CAPACITY)
    {
        for (int other = 0; other < plan.levels; ++other)
        {
            for (int i = static_cast<int>(threadIdx.x); i < counts[other]; i += kGROUP_THREADS)
            {
                fast[first[other] + i] = keys[static_cast<std::int64_t>(other) * plan.pitch + i];
            }
        }
        __syncthreads();
        writeRows(plan, image, level, fast, first, counts);
    }
    else
    {
        for (int other = 0; other < plan.levels; ++other)
        {
            first[other] = static_cast<std::int64_t>(other) * plan.pitch;
        }
        writeRows(plan, image, level, keys, first, counts);
    }
    if (level == 0)
    {
        std::int64_t const rows = least(total, static_cast<std::int64_t>(plan.limit));
        float* const out = plan.proposals + 4 * static_cast<std::int64_t>(image) * plan.limit;
        for (std::int64_t i = 4 * rows + threadIdx.x; i < 4 * static_cast<std::int64_t>(plan.limit);
            i += kGROUP_THREADS)
        {
            out[i] = 0.F;
        }
        if (threadIdx.x == 0)
        {
            plan.numProposals[image] = static_cast<std::int32_t>(rows);
        }
    }
}

//! Everything but pointers to inputs and outputs; `bytes` is what the workspace needs.
ProposalPlan makePlan(
    ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape, void* workspace, std::size_t& bytes)
{
    ProposalPlan plan{};
    plan.levels = attributes.levels();
    plan.anchors = attributes.anchors();
    plan.limit = attributes.maxProposals;
    plan.centreOffset = attributes.anchorCentreOffset;
    plan.nmsThresh = attributes.nmsThresh;
    plan.minSide = attributes.minSide;
    Corners const corners = cornersOf(attributes);
    std::copy(corners.begin(), corners.end(), plan.corners);
    int top = 1;
    for (int i = 0; i < plan.levels; ++i)
    {
        LevelPlan& level = plan.level[i];
        level.height = shape.heights[static_cast<std::size_t>(i)];
        level.width = shape.widths[static_cast<std::size_t>(i)];
        level.count = level.height * level.width * plan.anchors;
        level.top = std::min(attributes.preNmsPerLevel, level.count);
        level.stride = static_cast<float>(attributes.strides[static_cast<std::size_t>(i)]);
        level.firstBlock = plan.blocks;
        level.firstCandidate = plan.candidatesPerImage;
        plan.blocks += ceilDivide(level.count, kCOUNT_BLOCK);
        plan.candidatesPerImage += level.count;
        top = std::max(top, level.top);
    }
    plan.pitch = ceilDivide(top, kWARP) * kWARP;
    auto const groups = static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(plan.levels);
    std::size_t const entries = groups * static_cast<std::size_t>(plan.pitch);
    bool const matrix = plan.pitch <= kMATRIX_LIMIT;
    WorkspaceCutter cutter(workspace);
    plan.bins = cutter.take<unsigned>(groups * (kBINS + 1)); // `found` follows, so that one kernel zeroes both
    plan.found = plan.bins + groups * kBINS;
    plan.candidates = cutter.take<std::uint64_t>(
        static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(plan.candidatesPerImage));
    std::size_t const slow = plan.pitch > kSORT_CAPACITY ? static_cast<std::size_t>(sortSize(plan.pitch)) : 0;
    plan.sorted = cutter.take<std::uint64_t>(groups * slow);
    plan.numSorted = cutter.take<std::int32_t>(groups);
    plan.boxes = cutter.take<Box>(entries);
    plan.keys = cutter.take<std::uint32_t>(entries);
    plan.valid = cutter.take<unsigned>(entries / kWARP);
    plan.suppressors = cutter.take<unsigned>(matrix ? entries * static_cast<std::size_t>(plan.pitch / kWARP) : 0);
    plan.keptBoxes = cutter.take<Box>(matrix ? 0 : entries);
    plan.keptAreas = cutter.take<float>(matrix ? 0 : entries);
    plan.keptKeys = cutter.take<std::uint32_t>(entries);
    plan.keptPlaces = cutter.take<std::int32_t>(entries);
    plan.numKept = cutter.take<std::int32_t>(groups);
    bytes = cutter.bytes();
    return plan;
}

//! Zeroes the counters, then finds, sorts and decodes the candidates.
cudaError_t queueSelect(ProposalPlan const& plan, unsigned batch, cudaStream_t stream)
{
    auto const levels = static_cast<unsigned>(plan.levels);
    unsigned const words = batch * levels * (kBINS + 1);
    cudaError_t status = launch(zeroKernel, dim3(ceilDivide(words, 256U)), dim3(256), 0, stream, plan.bins, words);
    if (plan.blocks > 0)
    {
        dim3 const grid(static_cast<unsigned>(plan.blocks), batch);
        status = status != cudaSuccess ? status : launch(countKernel, grid, dim3(kCOUNT_THREADS), 0, stream, plan);
        status = status != cudaSuccess ? status : launch(collectKernel, grid, dim3(kCOUNT_THREADS), 0, stream, plan);
    }
    return status != cudaSuccess ? status
                                 : launch(sortKernel, dim3(levels, batch), dim3(kGROUP_THREADS), 0, stream, plan);
}

cudaError_t queueNms(ProposalPlan const& plan, unsigned groups, cudaStream_t stream)
{
    auto const pitch = static_cast<unsigned>(plan.pitch);
    if (plan.pitch > kMATRIX_LIMIT)
    {
        return launch(chunkKernel, dim3(groups), dim3(kGROUP_THREADS), 0, stream, plan);
    }
    dim3 const grid(ceilDivide(pitch, static_cast<unsigned>(kPAIR_THREADS)), pitch / kWARP, groups);
    cudaError_t const status = launch(pairKernel, grid, dim3(kPAIR_THREADS), 0, stream, plan);
    return status != cudaSuccess ? status : launch(resolveKernel, dim3(groups), dim3(kGROUP_THREADS), 0, stream, plan);
}

} // namespace

std::size_t proposalNMSWorkspaceBytes(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape)
{
    std::size_t bytes = 0;
    static_cast<void>(makePlan(attributes, shape, nullptr, bytes));
    return bytes;
}

cudaError_t launchProposalNMS(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape,
    ProposalNMSBuffers const& buffers, void* workspace, cudaStream_t stream)
{
    if (shape.batch == 0)
    {
        return cudaSuccess;
    }
    std::size_t bytes = 0;
    ProposalPlan plan = makePlan(attributes, shape, workspace, bytes);
    for (int i = 0; i < plan.levels; ++i)
    {
        plan.level[i].logits = buffers.logits[i];
        plan.level[i].deltas = buffers.deltas[i];
    }
    plan.imageInfo = buffers.imageInfo;
    plan.proposals = buffers.proposals;
    plan.numProposals = buffers.numProposals;
    auto const batch = static_cast<unsigned>(shape.batch);
    auto const levels = static_cast<unsigned>(plan.levels);
    cudaError_t status = queueSelect(plan, batch, stream);
    status = status != cudaSuccess ? status : queueNms(plan, batch * levels, stream);
    return status != cudaSuccess ? status
                                 : launch(joinKernel, dim3(levels, batch), dim3(kGROUP_THREADS), 0, stream, plan);
}

} // namespace maskline
