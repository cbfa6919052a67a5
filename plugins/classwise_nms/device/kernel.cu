// ClasswiseNMS: queues the kernels of classes.cuh, then takes the best D of an image.

#include "classwise_nms/device/kernel.h"

#include "classwise_nms/device/classes.cuh"
#include "common/device/workspace.h"

#include <algorithm>

namespace maskline
{
namespace
{

//! Appends what the classes of an image have kept, in any order. `count` is in shared memory and 0.
__device__ __forceinline__ void gather(DetectionPlan const& plan, int image, std::uint64_t* to, unsigned& count)
{
    for (int label = warpId(); label < plan.classes; label += warpCount())
    {
        std::int64_t const group = static_cast<std::int64_t>(image) * plan.classes + label;
        int const number = plan.numKept[group];
        unsigned start = 0;
        if (laneId() == 0 && number > 0)
        {
            start = atomicAdd(&count, static_cast<unsigned>(number));
        }
        start = __shfl_sync(kALL_LANES, start, 0);
        for (int i = laneId(); i < number; i += kWARP)
        {
            to[start + static_cast<unsigned>(i)] = plan.kept[group * plan.most + i];
        }
    }
    __syncthreads();
}

__device__ inline int sumKept(DetectionPlan const& plan, int image, unsigned* shared)
{
    unsigned sum = 0;
    for (int label = static_cast<int>(threadIdx.x); label < plan.classes; label += kIMAGE_THREADS)
    {
        sum += static_cast<unsigned>(plan.numKept[static_cast<std::int64_t>(image) * plan.classes + label]);
    }
    static_cast<void>(blockExclusiveSum(sum, shared));
    return static_cast<int>(shared[kWARP]);
}

//! Writes row `slot` of an image: a detection, or padding.
__device__ inline void writeRow(DetectionPlan const& plan, int image, int slot, bool real, std::uint64_t candidate)
{
    auto const index = static_cast<std::uint32_t>(candidate);
    Box const box = real ? boxOf(plan, image, index) : Box{};
    std::int64_t const row = static_cast<std::int64_t>(image) * plan.limit + slot;
    plan.buffers.boxes[4 * row] = box.x0;
    plan.buffers.boxes[4 * row + 1] = box.y0;
    plan.buffers.boxes[4 * row + 2] = box.x1;
    plan.buffers.boxes[4 * row + 3] = box.y1;
    plan.buffers.scores[row] = real ? valueOfKey(static_cast<std::uint32_t>(candidate >> 32)) : 0.F;
    plan.buffers.labels[row] = real ? static_cast<std::int32_t>(index % static_cast<std::uint32_t>(plan.classes)) : -1;
}

//! The best D of all classes of an image. Grid: B.
__global__ void __launch_bounds__(kIMAGE_THREADS, 1) imageKernel(DetectionPlan const plan)
{
    __shared__ std::uint64_t fast[kSORT_CAPACITY];
    __shared__ SelectShared select;
    __shared__ unsigned sums[kWARP + 1];
    __shared__ unsigned gathered;
    int const image = static_cast<int>(blockIdx.x);
    if (threadIdx.x == 0)
    {
        gathered = 0;
    }
    int const total = sumKept(plan, image, sums);
    std::uint64_t const* sorted = fast;
    if (total <= kSORT_CAPACITY)
    {
        gather(plan, image, fast, gathered);
        sortInPlace(fast, total);
    }
    else
    {
        std::int64_t const most = static_cast<std::int64_t>(plan.classes) * plan.most;
        std::uint64_t* const all = plan.all + image * most;
        int const wanted = static_cast<int>(least(static_cast<std::int64_t>(plan.limit), most));
        gather(plan, image, all, gathered);
        sorted = blockLowest(all, total, wanted, fast,
            plan.sorted + static_cast<std::int64_t>(image) * (wanted > kSORT_CAPACITY ? sortSize(wanted) : 0), select);
    }
    int const count = least(total, plan.limit);
    for (int slot = static_cast<int>(threadIdx.x); slot < plan.limit; slot += kIMAGE_THREADS)
    {
        bool const real = slot < count;
        writeRow(plan, image, slot, real, real ? sorted[slot] : kLAST_KEY);
    }
    if (threadIdx.x == 0)
    {
        plan.buffers.numDetections[image] = count;
    }
}

//! Everything but inputs and outputs; `bytes` is what the workspace needs.
DetectionPlan makePlan(
    ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape, void* workspace, std::size_t& bytes)
{
    DetectionPlan plan{};
    std::copy(attributes.deltaWeights.begin(), attributes.deltaWeights.end(), plan.weights);
    plan.rows = shape.proposals;
    plan.classes = attributes.numClasses;
    plan.limit = attributes.maxDetections;
    plan.most = std::min(plan.limit, plan.rows);
    plan.scoreThresh = attributes.scoreThresh;
    plan.nmsThresh = attributes.nmsThresh;
    plan.minSide = attributes.minSide;
    auto const batch = static_cast<std::size_t>(shape.batch);
    auto const classes = static_cast<std::size_t>(plan.classes);
    auto const most = static_cast<std::size_t>(plan.most);
    std::size_t const groups = batch * classes;
    std::size_t const rows = batch * static_cast<std::size_t>(plan.rows);
    std::size_t const best = std::min(static_cast<std::size_t>(plan.limit), classes * most);
    bool const isManyRows = plan.rows > kCLASS_CAPACITY;
    bool const isManyKept = plan.most > kKEPT_CAPACITY;
    bool const isManyFound = classes * most > kSORT_CAPACITY;
    bool const isManyBest = best > kSORT_CAPACITY;
    WorkspaceCutter cutter(workspace);
    plan.maxima = cutter.take<float>(rows);
    plan.sums = cutter.take<float>(rows);
    plan.candidates
        = cutter.take<std::uint64_t>(isManyRows ? groups * static_cast<std::size_t>(sortSize(plan.rows)) : 0);
    plan.keptBoxes = cutter.take<Box>(isManyKept ? groups * most : 0);
    plan.keptAreas = cutter.take<float>(isManyKept ? groups * most : 0);
    plan.kept = cutter.take<std::uint64_t>(groups * most);
    plan.numKept = cutter.take<std::int32_t>(groups);
    plan.all = cutter.take<std::uint64_t>(isManyFound ? groups * most : 0);
    plan.sorted = cutter.take<std::uint64_t>(
        isManyBest ? batch * static_cast<std::size_t>(sortSize(static_cast<int>(best))) : 0);
    bytes = cutter.bytes();
    return plan;
}

} // namespace

std::size_t classwiseNMSWorkspaceBytes(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape)
{
    std::size_t bytes = 0;
    static_cast<void>(makePlan(attributes, shape, nullptr, bytes));
    return bytes;
}

cudaError_t launchClasswiseNMS(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape,
    ClasswiseNMSBuffers const& buffers, void* workspace, cudaStream_t stream)
{
    if (shape.batch == 0)
    {
        return cudaSuccess;
    }
    std::size_t bytes = 0;
    DetectionPlan plan = makePlan(attributes, shape, workspace, bytes);
    plan.buffers = buffers;
    auto const batch = static_cast<unsigned>(shape.batch);
    std::int64_t const rows = static_cast<std::int64_t>(shape.batch) * shape.proposals;
    cudaError_t status = cudaSuccess;
    if (rows > 0)
    {
        dim3 const grid(static_cast<unsigned>(ceilDivide(rows, static_cast<std::int64_t>(kROW_THREADS / kWARP))));
        status = launch(rowKernel, grid, dim3(kROW_THREADS), 0, stream, plan, rows);
    }
    if (status == cudaSuccess)
    {
        dim3 const grid(batch * static_cast<unsigned>(plan.classes));
        status = launch(classKernel, grid, dim3(kCLASS_THREADS), 0, stream, plan);
    }
    return status != cudaSuccess ? status : launch(imageKernel, dim3(batch), dim3(kIMAGE_THREADS), 0, stream, plan);
}

} // namespace maskline
