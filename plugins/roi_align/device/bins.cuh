// What one thread computes: a bin of a box for one channel (NCHW) or 8 channels (kHWC8).
#pragma once

#include "roi_align/device/elements.cuh"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{

//! The channels of one thread in a box's map. Positions count vectors of `CHANNELS` elements, in 32 bits, so that an
//! address is one multiplication.
template <typename T, int CHANNELS>
struct RoIAlignReader
{
    T const* map;         //!< the channels' elements of cell 0
    std::uint32_t stride; //!< vectors from a cell to the next one

    __device__ T const* at(std::uint32_t position) const
    {
        return map + static_cast<std::size_t>(position) * CHANNELS;
    }

    __device__ T const* cell(std::int32_t index) const
    {
        return at(static_cast<std::uint32_t>(index) * stride);
    }
};

template <int CHANNELS>
__device__ void fill(float (&values)[CHANNELS], float value)
{
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        values[c] = value;
    }
}

//! The part of `sumTaps` that NUMBER columns have, which stay in registers for all rows.
//!
//! A row's cells are summed by the weights of their columns first: one product and sum a cell and channel, where the
//! product of both weights would cost another multiplication a cell.
template <int NUMBER, typename T, int CHANNELS>
__device__ void sumColumns(RoIAlignReader<T, CHANNELS> const& reader, RoIAlignTap const* rows, std::int32_t numRows,
    RoIAlignTap const* columns, float (&sums)[CHANNELS])
{
    RoIAlignTap across[NUMBER];
#pragma unroll
    for (int i = 0; i < NUMBER; ++i)
    {
        across[i] = columns[i];
    }
    for (std::int32_t k = 0; k < numRows; ++k)
    {
        RoIAlignTap const row = rows[k];
        RoIAlignVector<T, CHANNELS> cells[NUMBER]; // under way together: a warp stalls where it first needs one of them
#pragma unroll
        for (int i = 0; i < NUMBER; ++i)
        {
            cells[i].load(reader.at(static_cast<std::uint32_t>(row.cell) + static_cast<std::uint32_t>(across[i].cell)));
        }
        float line[CHANNELS];
        fill(line, 0.0F);
#pragma unroll
        for (int i = 0; i < NUMBER; ++i)
        {
            float values[CHANNELS];
            cells[i].toFloats(values);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
            {
                line[c] += across[i].weight * values[c];
            }
        }
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
        {
            sums[c] += row.weight * line[c];
        }
    }
}

//! Sums `weight * cell` over pairs of row and column taps, whose cells are positions in the map already.
template <typename T, int CHANNELS>
__device__ void sumTaps(RoIAlignReader<T, CHANNELS> const& reader, RoIAlignTap const* rows, std::int32_t numRows,
    RoIAlignTap const* columns, std::int32_t numColumns, float (&sums)[CHANNELS])
{
    constexpr int kMOST = 4; // what two sampling points have at most
    for (std::int32_t first = 0; first < numColumns; first += kMOST)
    {
        // A branch a number, the same for the whole warp, instead of one a cell.
        switch (least(numColumns - first, kMOST))
        {
        case 1: sumColumns<1>(reader, rows, numRows, columns + first, sums); break;
        case 2: sumColumns<2>(reader, rows, numRows, columns + first, sums); break;
        case 3: sumColumns<3>(reader, rows, numRows, columns + first, sums); break;
        default: sumColumns<4>(reader, rows, numRows, columns + first, sums); break;
        }
    }
}

//! The four cells around a sampling point, interpolated.
template <typename T, int CHANNELS>
__device__ void interpolate(RoIAlignReader<T, CHANNELS> const& reader, std::int32_t width, RoIAlignSample const& y,
    RoIAlignSample const& x, float (&found)[CHANNELS])
{
    RoIAlignVector<T, CHANNELS> corners[4];
    corners[0].load(reader.cell(y.low * width + x.low));
    corners[1].load(reader.cell(y.low * width + x.high));
    corners[2].load(reader.cell(y.high * width + x.low));
    corners[3].load(reader.cell(y.high * width + x.high));
    float const weights[4] = {(1.0F - y.weight) * (1.0F - x.weight), (1.0F - y.weight) * x.weight,
        y.weight * (1.0F - x.weight), y.weight * x.weight};
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        found[c] = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
    {
        float values[CHANNELS];
        corners[i].toFloats(values);
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
        {
            found[c] += weights[i] * values[c];
        }
    }
}

template <int CHANNELS>
__device__ void keepGreater(float (&best)[CHANNELS], float const (&values)[CHANNELS])
{
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        best[c] = greaterOf(best[c], values[c]);
    }
}

//! Average (MAXIMUM false) or maximum of a bin's sampling points, each worked out on the way: for adaptive sampling.
template <bool MAXIMUM, typename T, int CHANNELS>
__device__ void walkBin(RoIAlignReader<T, CHANNELS> const& reader, RoIAlignAxis const& rows,
    RoIAlignAxis const& columns, std::int32_t pooledSide, std::int32_t bin, float (&result)[CHANNELS])
{
    RoIAlignRange const ys = samplesOf(rows, pooledSide, bin / pooledSide);
    RoIAlignRange const xs = samplesOf(columns, pooledSide, bin % pooledSide);
    bool outside = ys.end - ys.begin < rows.count || xs.end - xs.begin < columns.count;
    fill(result, MAXIMUM ? __int_as_float(0x7fc00000) : 0.0F);
    for (std::int32_t sy = ys.begin; sy < ys.end; ++sy)
    {
        RoIAlignSample const y = sampleOf(rows, pooledSide, sy);
        for (std::int32_t sx = xs.begin; sx < xs.end; ++sx)
        {
            RoIAlignSample const x = sampleOf(columns, pooledSide, sx);
            if (!y.inside || !x.inside)
            {
                outside = true;
                continue;
            }
            float values[CHANNELS];
            interpolate(reader, columns.cells, y, x, values);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
            {
                result[c] = MAXIMUM ? greaterOf(result[c], values[c]) : result[c] + values[c];
            }
        }
    }
    float const share = 1.0F / static_cast<float>(rows.count) / static_cast<float>(columns.count);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        bool const raised = outside && !(result[c] > 0.0F);
        result[c] = MAXIMUM ? (raised ? 0.0F : result[c]) : result[c] * share;
    }
}

//! Maximum of a bin's sampling points from tables of them; a point outside of the map reads 0.
template <typename T, int CHANNELS>
__device__ void maximumOf(RoIAlignReader<T, CHANNELS> const& reader, std::int32_t width, RoIAlignSample const* rows,
    std::int32_t numRows, RoIAlignSample const* columns, std::int32_t numColumns, float (&best)[CHANNELS])
{
    fill(best, __int_as_float(0x7fc00000));
    for (std::int32_t sy = 0; sy < numRows; ++sy)
    {
        for (std::int32_t sx = 0; sx < numColumns; ++sx)
        {
            float values[CHANNELS];
            fill(values, 0.0F);
            if (rows[sy].inside && columns[sx].inside)
            {
                interpolate(reader, width, rows[sy], columns[sx], values);
            }
            keepGreater(best, values);
        }
    }
}

//! Maximum of a bin's cells; 0 when it has none.
template <typename T, int CHANNELS>
__device__ void poolOver(RoIAlignReader<T, CHANNELS> const& reader, std::int32_t width, RoIAlignRange const& rows,
    RoIAlignRange const& columns, float (&best)[CHANNELS])
{
    bool const empty = rows.end <= rows.begin || columns.end <= columns.begin;
    fill(best, empty ? 0.0F : __int_as_float(0x7fc00000));
    for (std::int32_t y = rows.begin; y < rows.end; ++y)
    {
        for (std::int32_t x = columns.begin; x < columns.end; ++x)
        {
            RoIAlignVector<T, CHANNELS> cell;
            float values[CHANNELS];
            cell.load(reader.cell(y * width + x));
            cell.toFloats(values);
            keepGreater(best, values);
        }
    }
}

} // namespace maskline
