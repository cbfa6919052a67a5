// Where a box lies in the pyramid, and lists of what its bins read: shared by the host's implementations.
#pragma once

#include "roi_align/host/op.h"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

//! A box with an area, and the map it is read from.
struct RoIAlignPlace
{
    std::int32_t row;   //!< of the output, 0..B*R-1
    std::int32_t image; //!< row / R
    std::int32_t level;
    RoIAlignBox box;
};

//! What the bins of one axis read: bin i has the taps `begins[i]..begins[i + 1] - 1`.
struct RoIAlignTaps
{
    std::vector<RoIAlignTap> taps;
    std::vector<std::int32_t> begins;
};

inline RoIAlignBox boxOf(RoIAlignCall const& call, std::int32_t row)
{
    float const* const corners = call.boxes + std::size_t{4} * static_cast<std::size_t>(row);
    return {corners[0], corners[1], corners[2], corners[3]};
}

inline RoIAlignAxis rowsOf(RoIAlignCall const& call, RoIAlignPlace const& place)
{
    return axisOf(call.attributes, place.box.y0, place.box.y1, call.attributes.strides[place.level],
        call.shape.heights[place.level]);
}

inline RoIAlignAxis columnsOf(RoIAlignCall const& call, RoIAlignPlace const& place)
{
    return axisOf(call.attributes, place.box.x0, place.box.x1, call.attributes.strides[place.level],
        call.shape.widths[place.level]);
}

//! Bytes of a feature.
inline std::int64_t elementBytes(RoIAlignShape const& shape)
{
    return shape.type == FeatureType::kFLOAT ? sizeof(float) : sizeof(std::uint16_t);
}

//! Cells of a level.
inline std::int64_t planeElements(RoIAlignShape const& shape, std::int32_t level)
{
    return std::int64_t{shape.heights[level]} * shape.widths[level];
}

//! Elements of one image of a level.
inline std::int64_t imageElements(RoIAlignShape const& shape, std::int32_t level)
{
    return planeElements(shape, level) * storedChannels(shape);
}

//! Where an image begins in the map of a level.
inline char const* imageOf(RoIAlignCall const& call, std::int32_t image, std::int32_t level)
{
    return static_cast<char const*>(call.features[level])
        + image * imageElements(call.shape, level) * elementBytes(call.shape);
}

//! Fills `found` with the taps of an axis.
inline void fillTaps(RoIAlignAxis const& axis, std::int32_t pooledSide, RoIAlignTaps& found)
{
    bool const fixed = axis.count <= kROI_ALIGN_MAX_SAMPLING_RATIO;
    auto const room = static_cast<std::size_t>(fixed ? 2 * axis.count : axis.cells + 2);
    found.begins.assign(1, 0);
    for (std::int32_t bin = 0; bin < pooledSide; ++bin)
    {
        auto const begin = static_cast<std::size_t>(found.begins.back());
        if (found.taps.size() < begin + room)
        {
            found.taps.resize(begin + room);
        }
        found.begins.push_back(found.begins.back() + tapsOf(axis, pooledSide, bin, found.taps.data() + begin));
    }
}

} // namespace maskline
