// MaskRLE: a block a detection, a thread a column of pixels.
//
// Strip by strip of neighbouring columns, each thread solves its column twice: to count its edges, and, when a scan
// over the block has said where they go, to write them. They are written where the counts belong, and become counts,
// their differences, in place at the end.

#include "mask_rle/device/kernel.h"

#include "mask_rle/device/edges.cuh"

namespace maskline
{
namespace
{

using namespace mask_rle;

//! Turns edges into counts in place, the last count and zeros behind them.
//!
//! @param number of counts; the last one ends with the image, and the others at the edges.
__device__ __forceinline__ void differences(
    std::int32_t* counts, std::int32_t number, std::int32_t capacity, std::int32_t numPixels)
{
    // From the last to the first, so that an edge is still there when the count behind it is made.
    auto const chunks = ceilDivide(capacity, kTHREADS);
    for (auto chunk = chunks - 1; chunk >= 0; --chunk)
    {
        auto const i = chunk * kTHREADS + static_cast<std::int32_t>(threadIdx.x);
        std::int32_t count = 0;
        if (i < number)
        {
            auto const edge = i == number - 1 ? numPixels : counts[i];
            count = edge - (i > 0 ? counts[i - 1] : 0);
        }
        if (chunk * kTHREADS < number)
        {
            __syncthreads();
        }
        if (i < capacity)
        {
            counts[i] = count;
        }
    }
}

//! What one block answers.
struct Answer
{
    std::int32_t* counts; //!< [maxCounts]
    std::int32_t* number;
    float* box; //!< [4] or null
};

__device__ __forceinline__ void writeHead(Answer const& answer, std::int32_t number, float const (&box)[4])
{
    if (threadIdx.x == 0)
    {
        *answer.number = number;
    }
    if (threadIdx.x < 4 && answer.box != nullptr)
    {
        answer.box[threadIdx.x] = box[threadIdx.x];
    }
}

template <typename T>
__global__ void __launch_bounds__(kTHREADS)
    maskRLEKernel(MaskRLEShape shape, std::int32_t maxCounts, PasteRule rule, MaskRLEBuffers buffers)
{
    MASKLINE_DYNAMIC_SHARED(double, memory);
    auto const slot = static_cast<std::int64_t>(blockIdx.x);
    auto const image = slot / shape.detections;
    auto const side = shape.side;
    Answer const answer{buffers.counts + slot * maxCounts, buffers.numCounts + slot,
        buffers.imageBoxes == nullptr ? nullptr : buffers.imageBoxes + slot * 4};
    float const* info = buffers.imageInfo + image * 6;
    auto const size = makeImageSize(info[4], info[5]);
    float box[4] = {};
    if (slot % shape.detections >= buffers.numDetections[image] || size.height == 0)
    {
        writeHead(answer, 0, box);
        differences(answer.counts, 0, maxCounts, 0);
        return;
    }
    for (int i = 0; i < 4; ++i)
    {
        box[i] = imageCoordinate(buffers.boxes[slot * 4 + i], info[1 - i % 2], info[5 - i % 2]);
    }
    Axis const columns = makeAxis(rule, box[0], box[2], side, size.width);
    Rows const rows = makeRows(makeAxis(rule, box[1], box[3], side, size.height));
    Edges edges{0, false};
    if (columns.pixels.count > 0 && rows.pixels.count > 0)
    {
        Shared const shared = makeShared(memory, side, rule);
        prepare(static_cast<T const*>(buffers.masks) + slot * side * side, side, rows, shared);
        edges = writeEdges(shared, columns, size, rows.step, answer.counts, maxCounts);
    }
    auto const number = edges.isLastAtEnd ? edges.number : edges.number + 1;
    bool const fits = number <= maxCounts;
    writeHead(answer, fits ? number : -number, box);
    differences(answer.counts, fits ? number : 0, maxCounts, size.height * size.width);
}

template <typename T>
cudaError_t launchFor(
    MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskRLEBuffers const& buffers, cudaStream_t stream)
{
    auto const blocks = static_cast<unsigned>(shape.images) * static_cast<unsigned>(shape.detections);
    return launch(maskRLEKernel<T>, dim3(blocks), dim3(kTHREADS), sharedBytes(shape.side), stream, shape,
        attributes.maxCounts, attributes.paste, buffers);
}

} // namespace

cudaError_t launchMaskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskType type,
    MaskRLEBuffers const& buffers, cudaStream_t stream)
{
    if (shape.images == 0 || shape.detections == 0)
    {
        return cudaSuccess;
    }
    switch (type)
    {
    case MaskType::kFLOAT32: return launchFor<float>(attributes, shape, buffers, stream);
    case MaskType::kFLOAT16: return launchFor<__half>(attributes, shape, buffers, stream);
    case MaskType::kBFLOAT16: return launchFor<__nv_bfloat16>(attributes, shape, buffers, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace maskline
