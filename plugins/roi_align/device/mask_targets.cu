// Mask targets: a thread works out one cell of one RoI; a block's threads have the same RoI.
#include "roi_align/device/mask_targets.h"

#include "common/device/launch.h"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{
namespace
{

constexpr int kTHREADS = 256;

//! The crop of an object's mask.
struct Crop
{
    std::uint8_t const* pixels;
    std::int32_t width;

    __device__ float at(std::int32_t y, std::int32_t x) const
    {
        return static_cast<float>(pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + x]);
    }

    __device__ float between(std::int32_t y, RoIAlignSample const& x) const
    {
        return (1.0F - x.weight) * at(y, x.low) + x.weight * at(y, x.high);
    }
};

//! The average of a cell's points; one outside of the crop counts as 0.
__device__ float averageOf(
    Crop const& crop, RoIAlignAxis const& rows, RoIAlignAxis const& columns, std::int32_t side, std::int32_t cell)
{
    RoIAlignRange const ys = samplesOf(rows, side, cell / side);
    RoIAlignRange const xs = samplesOf(columns, side, cell % side);
    float sum = 0.0F;
    for (std::int32_t sy = ys.begin; sy < ys.end; ++sy)
    {
        RoIAlignSample const y = sampleOf(rows, side, sy);
        for (std::int32_t sx = xs.begin; y.inside && sx < xs.end; ++sx)
        {
            RoIAlignSample const x = sampleOf(columns, side, sx);
            if (x.inside)
            {
                sum += (1.0F - y.weight) * crop.between(y.low, x) + y.weight * crop.between(y.high, x);
            }
        }
    }
    return sum / (static_cast<float>(rows.count) * static_cast<float>(columns.count));
}

__global__ void __launch_bounds__(kTHREADS) maskTargets(MaskTargetsShape const shape, MaskTargetsBuffers const buffers)
{
    auto const row = static_cast<std::int32_t>(blockIdx.x);
    auto const cell = static_cast<std::int32_t>(blockIdx.y * kTHREADS + threadIdx.x);
    std::int32_t const cells = shape.side * shape.side;
    if (cell >= cells)
    {
        return;
    }
    std::int32_t const* const window = buffers.windows + static_cast<std::size_t>(row) * 4;
    std::int32_t const width = window[2];
    std::int32_t const height = window[3];
    std::int64_t const start = buffers.starts[row];
    float4 const box = __ldg(reinterpret_cast<float4 const*>(buffers.boxes) + row);
    auto const left = static_cast<float>(window[0]);
    auto const top = static_cast<float>(window[1]);
    RoIAlignAttributes attributes{};
    attributes.pooledSide = shape.side;
    attributes.aligned = shape.aligned;
    attributes.mode = RoIAlignMode::kALIGN_AVG;
    RoIAlignAxis const rows = axisOf(attributes, box.y - top, box.w - top, 1, height);
    RoIAlignAxis const columns = axisOf(attributes, box.x - left, box.z - left, 1, width);
    float target = 0.0F;
    if (width > 0 && rows.side > 0.0F && columns.side > 0.0F)
    {
        bool const there
            = height > 0 && start >= 0 && start + static_cast<std::int64_t>(width) * height <= shape.pixels;
        target = there ? averageOf({buffers.pixels + start, width}, rows, columns, shape.side, cell)
                       : __int_as_float(0x7fc00000);
    }
    buffers.targets[static_cast<std::size_t>(row) * static_cast<std::size_t>(cells) + cell] = target;
}

} // namespace

cudaError_t launchMaskTargets(MaskTargetsShape const& shape, MaskTargetsBuffers const& buffers, cudaStream_t stream)
{
    if (shape.rows == 0)
    {
        return cudaSuccess;
    }
    dim3 const grid(
        static_cast<unsigned>(shape.rows), static_cast<unsigned>(ceilDivide(shape.side * shape.side, kTHREADS)));
    return launch(maskTargets, grid, dim3(kTHREADS), 0, stream, shape, buffers);
}

} // namespace maskline
