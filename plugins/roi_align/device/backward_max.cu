// MultiscaleRoIAlign's backward for maxima: a bin's gradient goes to the point, or cell, that was the greatest.
//
// A block takes one box and some channels; a thread takes a bin and looks for its maximum again, which costs less than
// a forward that writes down where it was.
#include "roi_align/device/backward.h"

#include "roi_align/device/bins.cuh"
#include "roi_align/device/gather.cuh"
#include "roi_align/device/rows.cuh"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{
namespace
{

constexpr int kTHREADS = 256;
constexpr std::int32_t kMOST_BLOCKS = 65535; // of a grid's second axis
constexpr std::int32_t kNOWHERE = -1;

//! What the kernel is given, by value.
struct Task
{
    RoIAlignAttributes attributes;
    RoIAlignShape shape;
    void const* features[kROI_ALIGN_MAX_LEVELS];
    void const* pooled;
    float const* boxes;
    RoIAlignRows rows;
    float* gradients[kROI_ALIGN_MAX_LEVELS];
    std::int32_t vectors; //!< of channels
    std::int32_t stored;  //!< channels as they lie in memory
};

//! The greatest value of each channel and where it is: a point of each axis, or a cell's row and column.
template <int CHANNELS>
struct Greatest
{
    float values[CHANNELS];
    std::int32_t y[CHANNELS];
    std::int32_t x[CHANNELS];

    //! As the forward chooses: the first one, and a number before NaN.
    __device__ void keep(float const (&found)[CHANNELS], std::int32_t atY, std::int32_t atX)
    {
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
        {
            bool const better = y[c] == kNOWHERE || found[c] > values[c] || values[c] != values[c];
            values[c] = better ? found[c] : values[c];
            y[c] = better ? atY : y[c];
            x[c] = better ? atX : x[c];
        }
    }
};

template <int CHANNELS>
__device__ Greatest<CHANNELS> nothing()
{
    Greatest<CHANNELS> found;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        found.values[c] = 0.0F;
        found.y[c] = found.x[c] = kNOWHERE;
    }
    return found;
}

//! The greatest of a bin's points; nowhere where a point outside of the map, which reads 0, is as great.
template <typename T, int CHANNELS>
__device__ Greatest<CHANNELS> greatestPoint(
    RoIAlignReader<T, CHANNELS> const& reader, RoIAlignPlace const& place, std::int32_t pooledSide, std::int32_t bin)
{
    Greatest<CHANNELS> best = nothing<CHANNELS>();
    RoIAlignRange const ys = samplesOf(place.rows, pooledSide, bin / pooledSide);
    RoIAlignRange const xs = samplesOf(place.columns, pooledSide, bin % pooledSide);
    bool outside = ys.end - ys.begin < place.rows.count || xs.end - xs.begin < place.columns.count;
    for (std::int32_t sy = ys.begin; sy < ys.end; ++sy)
    {
        RoIAlignSample const y = sampleOf(place.rows, pooledSide, sy);
        for (std::int32_t sx = xs.begin; sx < xs.end; ++sx)
        {
            RoIAlignSample const x = sampleOf(place.columns, pooledSide, sx);
            if (!y.inside || !x.inside)
            {
                outside = true;
                continue;
            }
            float values[CHANNELS];
            interpolate(reader, place.columns.cells, y, x, values);
            best.keep(values, sy, sx);
        }
    }
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        best.y[c] = outside && !(best.values[c] > 0.0F) ? kNOWHERE : best.y[c];
    }
    return best;
}

//! The greatest of the cells of a bin of RoIPool.
template <typename T, int CHANNELS>
__device__ Greatest<CHANNELS> greatestCell(RoIAlignReader<T, CHANNELS> const& reader, std::int32_t width,
    RoIAlignRange const& rows, RoIAlignRange const& columns)
{
    Greatest<CHANNELS> best = nothing<CHANNELS>();
    for (std::int32_t y = rows.begin; y < rows.end; ++y)
    {
        for (std::int32_t x = columns.begin; x < columns.end; ++x)
        {
            RoIAlignVector<T, CHANNELS> cell;
            float values[CHANNELS];
            cell.load(reader.cell(y * width + x));
            cell.toFloats(values);
            best.keep(values, y, x);
        }
    }
    return best;
}

//! Where the elements of one channel's map are.
struct Channel
{
    float* map;         //!< cell 0
    std::size_t stride; //!< elements from a cell to the next one
    std::int32_t width;

    __device__ void add(std::int32_t y, std::int32_t x, float value) const
    {
        atomicAdd(map + static_cast<std::size_t>(y * width + x) * stride, value);
    }
};

//! Gives a point's four cells their shares.
__device__ inline void addPoint(Channel const& channel, RoIAlignSample const& y, RoIAlignSample const& x, float given)
{
    float const low = (1.0F - y.weight) * given;
    float const high = y.weight * given;
    channel.add(y.low, x.low, (1.0F - x.weight) * low);
    if (x.weight > 0.0F)
    {
        channel.add(y.low, x.high, x.weight * low);
    }
    if (y.weight > 0.0F)
    {
        channel.add(y.high, x.low, (1.0F - x.weight) * high);
    }
    if (x.weight > 0.0F && y.weight > 0.0F)
    {
        channel.add(y.high, x.high, x.weight * high);
    }
}

//! Finds the greatest of one bin for one vector of channels, and gives it the bin's gradient.
template <typename T, int CHANNELS>
__device__ void giveToGreatest(Task const& task, RoIAlignPlace const& place, std::int32_t row, std::int32_t item)
{
    RoIAlignAttributes const& attributes = task.attributes;
    std::int32_t const side = attributes.pooledSide;
    std::int32_t const bins = side * side;
    std::int32_t const bin = CHANNELS == 1 ? item % bins : item / task.vectors;
    std::int32_t const vector = CHANNELS == 1 ? item / bins : item % task.vectors;
    std::int32_t const width = place.columns.cells;
    std::size_t const stored = static_cast<std::size_t>(task.stored);
    std::size_t const plane = static_cast<std::size_t>(place.rows.cells) * static_cast<std::size_t>(width);
    std::size_t const first = static_cast<std::size_t>(place.image) * plane * stored
        + static_cast<std::size_t>(vector) * (CHANNELS == 1 ? plane : CHANNELS);
    RoIAlignReader<T, CHANNELS> const reader{static_cast<T const*>(task.features[place.level]) + first,
        static_cast<std::uint32_t>(CHANNELS == 1 ? 1 : task.stored / CHANNELS)};
    bool const pool = attributes.mode == RoIAlignMode::kPOOL;
    Greatest<CHANNELS> best;
    if (pool)
    {
        float4 const box = __ldg(reinterpret_cast<float4 const*>(task.boxes) + row);
        std::int32_t const stride = attributes.strides[place.level];
        best = greatestCell(reader, width, poolOf(attributes, box.y, box.w, stride, place.rows.cells, bin / side),
            poolOf(attributes, box.x, box.z, stride, width, bin % side));
    }
    else
    {
        best = greatestPoint(reader, place, side, bin);
    }
    std::size_t const box = static_cast<std::size_t>(row) * stored * static_cast<std::size_t>(bins);
    RoIAlignVector<T, CHANNELS> incoming;
    incoming.load(static_cast<T const*>(task.pooled) + box
        + (CHANNELS == 1 ? static_cast<std::size_t>(item)
                         : static_cast<std::size_t>(bin) * stored + static_cast<std::size_t>(vector) * CHANNELS));
    float given[CHANNELS];
    incoming.toFloats(given);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        if (best.y[c] == kNOWHERE || vector * CHANNELS + c >= task.shape.channels)
        {
            continue;
        }
        Channel const channel{task.gradients[place.level] + first + c, CHANNELS == 1 ? 1 : stored, width};
        if (pool)
        {
            channel.add(best.y[c], best.x[c], given[c]);
        }
        else
        {
            addPoint(
                channel, sampleOf(place.rows, side, best.y[c]), sampleOf(place.columns, side, best.x[c]), given[c]);
        }
    }
}

template <typename T, int CHANNELS>
__global__ void __launch_bounds__(kTHREADS) toGreatest(Task const task)
{
    auto const row = static_cast<std::int32_t>(blockIdx.x);
    RoIAlignPlace const place = placeOf(task.attributes, task.shape, task.boxes, task.rows, row);
    std::int32_t const items = task.attributes.pooledSide * task.attributes.pooledSide * task.vectors;
    auto const first = static_cast<std::int32_t>(blockIdx.y * kTHREADS + threadIdx.x);
    auto const step = static_cast<std::int32_t>(gridDim.y * kTHREADS);
    for (std::int32_t item = first; place.level >= 0 && item < items; item += step)
    {
        giveToGreatest<T, CHANNELS>(task, place, row, item);
    }
}

template <typename T, int CHANNELS>
cudaError_t start(Task& task, cudaStream_t stream)
{
    task.vectors = ceilDivide(task.shape.channels, CHANNELS);
    std::int32_t const side = task.attributes.pooledSide;
    std::int32_t const blocks = least(ceilDivide(side * side * task.vectors, kTHREADS), kMOST_BLOCKS);
    dim3 const grid(static_cast<unsigned>(task.rows.count()), static_cast<unsigned>(blocks));
    return launch(toGreatest<T, CHANNELS>, grid, dim3(kTHREADS), 0, stream, task);
}

template <typename T>
cudaError_t chooseLayout(Task& task, cudaStream_t stream)
{
    return task.shape.layout == FeatureLayout::kHWC8 ? start<T, 4>(task, stream) : start<T, 1>(task, stream);
}

} // namespace

cudaError_t launchMultiscaleRoIAlignBackwardOfMaxima(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    void const* const* features, void const* pooled, float const* boxes, std::int64_t const* images,
    float* const* gradients, cudaStream_t stream)
{
    if (rowsOf(shape, images).count() == 0)
    {
        return cudaSuccess;
    }
    Task task{attributes, shape, {}, pooled, boxes, rowsOf(shape, images), {}, 0, storedChannels(shape)};
    for (std::int32_t i = 0; i < attributes.numLevels; ++i)
    {
        task.features[i] = features[i];
        task.gradients[i] = gradients[i];
    }
    switch (shape.type)
    {
    case FeatureType::kFLOAT: return chooseLayout<float>(task, stream);
    case FeatureType::kHALF: return chooseLayout<__half>(task, stream);
    case FeatureType::kBFLOAT16: return chooseLayout<__nv_bfloat16>(task, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace maskline
