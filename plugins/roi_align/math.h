// The geometry of MultiscaleRoIAlign, one definition for the host, the kernel and the tests: float32 throughout.
//
// A position on an axis of a level is measured in cells, cell centres at whole numbers. It is kept as a whole number
// (`base`) and a rest, so that a box far from the origin is sampled as exactly as one beside it.
#pragma once

#include "common/host_device.h"
#include "roi_align/attributes.h"

#include <cmath>
#include <cstdint>

namespace maskline
{

struct RoIAlignBox
{
    float x0, y0, x1, y1;
};

//! How one axis of a box is sampled on its level.
struct RoIAlignAxis
{
    float base;         //!< whole cells before the box
    float offset;       //!< start of the box after `base`, 0..1
    float side;         //!< cells
    std::int32_t cells; //!< of the level
    std::int32_t count; //!< S, sampling points a bin
};

//! One sampling point on one axis: `(1 - weight) * F[low] + weight * F[high]`.
struct RoIAlignSample
{
    std::int32_t low;
    std::int32_t high;
    float weight;
    bool inside; //!< at most one cell outside of the map; a point further out reads 0
};

//! The greater of two; a NaN only where there is nothing else.
MASKLINE_HD float greaterOf(float best, float value)
{
    return value > best || best != best ? value : best;
}

//! One cell and its share in the average of a bin on one axis.
struct RoIAlignTap
{
    std::int32_t cell;
    float weight;
};

//! The numbers begin..end-1.
struct RoIAlignRange
{
    std::int32_t begin;
    std::int32_t end;
};

// More points than this in a bin say nothing more: such a bin is some hundred times wider than any map.
constexpr float kROI_ALIGN_MOST_POINTS = 65536.0F;

//! False for a box without area, and for one with a coordinate that is not finite.
MASKLINE_HD bool hasArea(RoIAlignBox const& box)
{
    constexpr float kMOST = 3.402823466e+38F;
    bool const finite = std::fabs(box.x0) <= kMOST && std::fabs(box.y0) <= kMOST && std::fabs(box.x1) <= kMOST
        && std::fabs(box.y1) <= kMOST;
    return finite && box.x1 > box.x0 && box.y1 > box.y0;
}

//! Index of the level that a box is read from. Ref: FPN paper, equation 1.
//!
//! Comparisons with powers of two stand for the logarithm. 1e-6, as in detectron2: a box of exactly a power of two
//! falls on the upper level.
MASKLINE_HD std::int32_t levelOf(RoIAlignAttributes const& attributes, RoIAlignBox const& box)
{
    float const area = (box.x1 - box.x0) * (box.y1 - box.y0);
    float const size = std::sqrt(area) / attributes.canonicalSize + 1e-6F;
    float const unit = 1.0F / static_cast<float>(1 << attributes.canonicalLevel);
    std::int32_t level = 0;
    for (std::int32_t i = 1; i < attributes.numLevels; ++i)
    {
        level += size >= static_cast<float>(attributes.strides[i]) * unit ? 1 : 0;
    }
    return level;
}

//! The cell nearest to a position (halves away from zero), as RoIPool quantises; kept where int32 sums are safe.
MASKLINE_HD float quantised(float position)
{
    constexpr float kFAR = 1e9F;
    return std::round(least(greatest(position, -kFAR), kFAR));
}

//! One axis of a box.
//!
//! @param low, high the box's edges, px.
//! @param stride px a cell.
//! @param cells of the level on this axis.
MASKLINE_HD RoIAlignAxis axisOf(
    RoIAlignAttributes const& attributes, float low, float high, std::int32_t stride, std::int32_t cells)
{
    float const scale = 1.0F / static_cast<float>(stride);
    float start = low * scale;
    float side = high * scale - start;
    if (attributes.mode == RoIAlignMode::kWARP)
    {
        start = quantised(start);
        side = greatest(quantised(high * scale) - start + 1.0F, 1.0F);
    }
    else if (attributes.aligned == 0)
    {
        side = greatest(side, 1.0F);
    }
    start -= attributes.aligned != 0 ? 0.5F : 0.0F;
    RoIAlignAxis axis;
    axis.base = std::floor(start);
    axis.offset = start - axis.base;
    axis.side = side;
    axis.cells = cells;
    float const points = std::ceil(side / static_cast<float>(attributes.pooledSide));
    axis.count = attributes.samplingRatio > 0
        ? attributes.samplingRatio
        : static_cast<std::int32_t>(least(greatest(points, 1.0F), kROI_ALIGN_MOST_POINTS));
    return axis;
}

//! Sampling point `index` of the P * S on an axis.
MASKLINE_HD RoIAlignSample sampleOf(RoIAlignAxis const& axis, std::int32_t pooledSide, std::int32_t index)
{
    float const points = static_cast<float>(pooledSide * axis.count);
    float const at = axis.offset + axis.side * (static_cast<float>(index) + 0.5F) / points;
    float const cells = static_cast<float>(axis.cells);
    RoIAlignSample sample{0, 0, 0.0F, at >= -1.0F - axis.base && at <= cells - axis.base};
    if (!sample.inside)
    {
        return sample;
    }
    float const whole = std::floor(at);
    float const cell = axis.base + whole;
    if (cell >= cells - 1.0F)
    {
        sample.low = sample.high = axis.cells - 1;
    }
    else if (cell >= 0.0F)
    {
        sample.low = static_cast<std::int32_t>(cell);
        sample.high = sample.low + 1;
        sample.weight = at - whole;
    }
    return sample;
}

//! The sampling points of one bin that may be inside of the map; the ones left out are not.
//!
//! With a fixed S that is all of them: few enough to look at.
MASKLINE_HD RoIAlignRange samplesOf(RoIAlignAxis const& axis, std::int32_t pooledSide, std::int32_t bin)
{
    RoIAlignRange range{bin * axis.count, (bin + 1) * axis.count};
    if (axis.count <= kROI_ALIGN_MAX_SAMPLING_RATIO)
    {
        return range;
    }
    constexpr float kFAR = 1e9F;
    constexpr std::int32_t kMARGIN = 3; // points: more than the rounding of the next two lines
    float const points = static_cast<float>(pooledSide * axis.count);
    float const first = (-1.0F - axis.base - axis.offset) / axis.side * points;
    float const last = (static_cast<float>(axis.cells) - axis.base - axis.offset) / axis.side * points;
    auto const begin = static_cast<std::int32_t>(least(greatest(first, -kFAR), kFAR)) - kMARGIN;
    auto const end = static_cast<std::int32_t>(least(greatest(last, -kFAR), kFAR)) + kMARGIN;
    range.begin = least(greatest(range.begin, begin), range.end);
    range.end = greatest(least(range.end, end), range.begin);
    return range;
}

//! What one sampling point adds to the cells of its bin, in ascending order: a cell that is there already gets heavier.
//!
//! @param taps of the bin so far; two more must fit.
//! @param found how many there are.
//! @return how many there are now.
MASKLINE_HD std::int32_t addSample(RoIAlignSample const& sample, float share, RoIAlignTap* taps, std::int32_t found)
{
    if (!sample.inside)
    {
        return found;
    }
    // Points ascend, so the cell is the last, the last but one, or new.
    std::int32_t place = found;
    if (found > 1 && taps[found - 2].cell == sample.low)
    {
        place = found - 2;
    }
    else if (found > 0 && taps[found - 1].cell == sample.low)
    {
        place = found - 1;
    }
    if (place == found)
    {
        taps[found++] = RoIAlignTap{sample.low, 0.0F};
    }
    taps[place].weight += (1.0F - sample.weight) * share;
    if (sample.weight == 0.0F)
    {
        return found;
    }
    if (place + 1 == found)
    {
        taps[found++] = RoIAlignTap{sample.high, 0.0F};
    }
    taps[place + 1].weight += sample.weight * share;
    return found;
}

//! Cells and weights of the average of one bin on one axis, in ascending order of the cells (RoIAlign is separable).
//!
//! @param taps room for 2 * S, or for one more than the bin has cells, at least 3, with adaptive sampling.
//! @return how many there are; 0 when the bin lies outside of the map.
MASKLINE_HD std::int32_t tapsOf(RoIAlignAxis const& axis, std::int32_t pooledSide, std::int32_t bin, RoIAlignTap* taps)
{
    RoIAlignRange const range = samplesOf(axis, pooledSide, bin);
    float const share = 1.0F / static_cast<float>(axis.count);
    std::int32_t found = 0;
    for (std::int32_t index = range.begin; index < range.end; ++index)
    {
        found = addSample(sampleOf(axis, pooledSide, index), share, taps, found);
    }
    return found;
}

//! Cells of one bin of RoIPool on one axis; empty when it lies outside of the map.
//!
//! The edges are rounded in float32 on purpose: torchvision, Caffe2 and the original do, and a few edges (57 cells in
//! 31 bins) come out one cell wider than in exact arithmetic.
MASKLINE_HD RoIAlignRange poolOf(RoIAlignAttributes const& attributes, float low, float high, std::int32_t stride,
    std::int32_t cells, std::int32_t bin)
{
    float const scale = 1.0F / static_cast<float>(stride);
    auto const start = static_cast<std::int32_t>(quantised(low * scale));
    auto const end = static_cast<std::int32_t>(quantised(high * scale));
    auto const length = static_cast<float>(greatest(end - start + 1, 1));
    float const binSide = length / static_cast<float>(attributes.pooledSide);
    auto const from = static_cast<std::int32_t>(std::floor(static_cast<float>(bin) * binSide)) + start;
    auto const to = static_cast<std::int32_t>(std::ceil(static_cast<float>(bin + 1) * binSide)) + start;
    return {least(greatest(from, 0), cells), least(greatest(to, 0), cells)};
}

} // namespace maskline
