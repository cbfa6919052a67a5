// The backward of an average, seen from a cell: which bins read it on each axis, and with which weights.
//
// The forward is `out = Wy F Wx^T`, so the gradient of a cell is `sum of Wy[i][y] * (sum of Wx[j][x] * G[i][j])` over
// the bins that read it. A block works on a window of cells, whose columns of Wy and Wx lie in shared memory.
#pragma once

#include "roi_align/device/elements.cuh"
#include "roi_align/device/rows.cuh"
#include "roi_align/math.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace maskline
{

//! Four channels at once: a warp's reductions are then 512 bytes in a row.
template <typename T>
struct RoIAlignVector<T, 4>
{
    __device__ void load(T const* from)
    {
        mWords = __ldg(reinterpret_cast<uint2 const*>(from));
    }

    __device__ void toFloats(float (&values)[4]) const
    {
        float2 const low = RoIAlignElement<T>::unpack(mWords.x);
        float2 const high = RoIAlignElement<T>::unpack(mWords.y);
        values[0] = low.x;
        values[1] = low.y;
        values[2] = high.x;
        values[3] = high.y;
    }

    uint2 mWords;
};

template <>
struct RoIAlignVector<float, 4>
{
    __device__ void load(float const* from)
    {
        mValues = __ldg(reinterpret_cast<float4 const*>(from));
    }

    __device__ void toFloats(float (&values)[4]) const
    {
        values[0] = mValues.x;
        values[1] = mValues.y;
        values[2] = mValues.z;
        values[3] = mValues.w;
    }

    float4 mValues;
};

//! A box on its level.
struct RoIAlignPlace
{
    std::int32_t level; //!< -1: no bin reads anything
    std::int32_t image;
    RoIAlignAxis rows;
    RoIAlignAxis columns;
};

__device__ inline RoIAlignPlace placeOf(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    float const* boxes, RoIAlignRows const& rows, std::int32_t row)
{
    float4 const corners = __ldg(reinterpret_cast<float4 const*>(boxes) + row);
    RoIAlignBox const box{corners.x, corners.y, corners.z, corners.w};
    RoIAlignPlace place{};
    place.image = rows.imageOf(row);
    place.level = place.image >= 0 && hasArea(box) ? levelOf(attributes, box) : -1;
    if (place.level >= 0)
    {
        std::int32_t const stride = attributes.strides[place.level];
        place.rows = axisOf(attributes, box.y0, box.y1, stride, shape.heights[place.level]);
        place.columns = axisOf(attributes, box.x0, box.x1, stride, shape.widths[place.level]);
    }
    return place;
}

//! Cells that the sampling points of a box may read, a cell more at either end for what positions are rounded by.
MASKLINE_HD RoIAlignRange patchOf(RoIAlignAxis const& axis)
{
    float const cells = static_cast<float>(axis.cells);
    float const first = axis.base + axis.offset;
    float const last = first + axis.side;
    if (!(last >= -2.0F && first <= cells + 1.0F))
    {
        return {0, 0};
    }
    auto const begin = static_cast<std::int32_t>(least(greatest(std::floor(first) - 1.0F, 0.0F), cells - 1.0F));
    auto const end = static_cast<std::int32_t>(least(greatest(std::floor(last) + 3.0F, 1.0F), cells));
    return {begin, end};
}

//! What a bin's average reads of a window's cells: the weights of tapsOf, summed in the same order.
//!
//! @param weights of the window's cells, one after the other; every one is written.
MASKLINE_HD void weightsOf(
    RoIAlignAxis const& axis, std::int32_t pooledSide, std::int32_t bin, RoIAlignRange const& window, float* weights)
{
    std::int32_t const cells = window.end - window.begin;
    for (std::int32_t i = 0; i < cells; ++i)
    {
        weights[i] = 0.0F;
    }
    // The points that reach the window are those that are inside of a map that is the window.
    RoIAlignAxis within = axis;
    within.base -= static_cast<float>(window.begin);
    within.cells = cells;
    RoIAlignRange const points = samplesOf(within, pooledSide, bin);
    float const share = 1.0F / static_cast<float>(axis.count);
    for (std::int32_t index = points.begin; index < points.end; ++index)
    {
        RoIAlignSample const sample = sampleOf(axis, pooledSide, index);
        if (!sample.inside)
        {
            continue;
        }
        if (sample.low >= window.begin && sample.low < window.end)
        {
            weights[sample.low - window.begin] += (1.0F - sample.weight) * share;
        }
        if (sample.weight > 0.0F && sample.high >= window.begin && sample.high < window.end)
        {
            weights[sample.high - window.begin] += sample.weight * share;
        }
    }
}

//! One axis of a window in shared memory; `CELLS` is the most that it has.
template <int CELLS>
struct RoIAlignWindow
{
    RoIAlignRange cells;
    RoIAlignRange* bins; //!< [CELLS] bins that read a cell
    float* weights;      //!< [P][CELLS]
};

//! Bytes of one axis of a window, a multiple of 16.
template <int CELLS>
MASKLINE_HD std::int32_t windowBytes(std::int32_t pooledSide)
{
    static_assert(CELLS % 4 == 0, "16 bytes");
    return CELLS * (static_cast<std::int32_t>(sizeof(RoIAlignRange)) + 4 * pooledSide);
}

template <int CELLS>
__device__ RoIAlignWindow<CELLS> windowAt(unsigned char* bytes)
{
    auto* const bins = reinterpret_cast<RoIAlignRange*>(bytes);
    return {{0, 0}, bins, reinterpret_cast<float*>(bins + CELLS)};
}

//! Fills the weights of one axis; a thread takes a bin. Barrier before what reads them.
template <int CELLS>
__device__ void fillWeights(
    RoIAlignWindow<CELLS> const& window, RoIAlignAxis const& axis, std::int32_t pooledSide, std::int32_t thread)
{
    for (std::int32_t bin = thread; bin >= 0 && bin < pooledSide; bin += static_cast<std::int32_t>(blockDim.x))
    {
        weightsOf(axis, pooledSide, bin, window.cells, window.weights + bin * CELLS);
    }
}

//! Finds the bins that read each cell, a run of them since points ascend; a thread takes a cell. Barrier around it.
template <int CELLS>
__device__ void findBins(RoIAlignWindow<CELLS> const& window, std::int32_t pooledSide, std::int32_t thread)
{
    if (thread < 0 || thread >= window.cells.end - window.cells.begin)
    {
        return;
    }
    RoIAlignRange found{0, 0};
    for (std::int32_t bin = 0; bin < pooledSide; ++bin)
    {
        if (window.weights[bin * CELLS + thread] > 0.0F)
        {
            found = {found.end == 0 ? bin : found.begin, bin + 1};
        }
    }
    window.bins[thread] = found;
}

//! Both axes of a window, for all threads of a block; ends with a barrier.
template <int ROWS, int COLUMNS>
__device__ void fillWindow(RoIAlignWindow<ROWS> const& rows, RoIAlignWindow<COLUMNS> const& columns,
    RoIAlignPlace const& place, std::int32_t pooledSide)
{
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    std::int32_t const half = static_cast<std::int32_t>(blockDim.x) / 2; // the other half's threads take the columns
    __syncthreads();                                                     // the window before is read
    fillWeights(rows, place.rows, pooledSide, thread);
    fillWeights(columns, place.columns, pooledSide, (thread + half) % static_cast<std::int32_t>(blockDim.x));
    __syncthreads();
    findBins(rows, pooledSide, thread);
    findBins(columns, pooledSide, thread - half);
    __syncthreads();
}

//! The gradient of a cell of a window for the channels of one thread.
//!
//! @param pooled gradient of bin 0 for these channels.
//! @param binStride elements from a bin to the next one.
//! @return false when no bin reads the cell.
template <typename T, int CHANNELS, int ROWS, int COLUMNS>
__device__ bool gather(RoIAlignWindow<ROWS> const& rows, RoIAlignWindow<COLUMNS> const& columns, std::int32_t y,
    std::int32_t x, std::int32_t pooledSide, T const* pooled, std::int32_t binStride, float (&sums)[CHANNELS])
{
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        sums[c] = 0.0F;
    }
    RoIAlignRange const down = rows.bins[y];
    RoIAlignRange const across = columns.bins[x];
    for (std::int32_t i = down.begin; i < down.end; ++i)
    {
        float line[CHANNELS] = {};
        for (std::int32_t j = across.begin; j < across.end; ++j)
        {
            RoIAlignVector<T, CHANNELS> found;
            found.load(pooled + static_cast<std::size_t>(i * pooledSide + j) * static_cast<std::size_t>(binStride));
            float values[CHANNELS];
            found.toFloats(values);
            float const weight = columns.weights[j * COLUMNS + x];
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
            {
                line[c] += weight * values[c];
            }
        }
        float const weight = rows.weights[i * ROWS + y];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
        {
            sums[c] += weight * line[c];
        }
    }
    return down.begin < down.end && across.begin < across.end;
}

} // namespace maskline
