// What ProposalNMS computes for one anchor, for host, CUDA and the emulator.
#pragma once

#include "common/box_math.h"

#include <cstdint>

namespace maskline
{

//! One pyramid level of one image.
struct ProposalLevel
{
    float const* logits; //!< [A, Hi, Wi]
    float const* deltas; //!< [4A, Hi, Wi], channel 4a+j
    std::int32_t height; //!< Hi
    std::int32_t width;  //!< Wi
    float stride;        //!< px
    float centreOffset;  //!< in strides
};

//! The anchor of one cell: `corners` are its offsets from the cell's centre.
MASKLINE_HD Box anchorAt(Box const& corners, std::int32_t row, std::int32_t column, ProposalLevel const& level)
{
    float const x = (static_cast<float>(column) + level.centreOffset) * level.stride;
    float const y = (static_cast<float>(row) + level.centreOffset) * level.stride;
    return {x + corners.x0, y + corners.y0, x + corners.x1, y + corners.y1};
}

//! The clipped box of the anchor with flattened index `flat`, in the order (y, x, a).
//!
//! @param corners A anchors of a cell.
//! @param imageHeight and imageWidth are the resized image's, px.
MASKLINE_HD Box proposalAt(ProposalLevel const& level, Box const* corners, std::int32_t anchors, std::int32_t flat,
    float imageHeight, float imageWidth)
{
    std::int32_t const cell = flat / anchors;
    std::int32_t const anchor = flat - cell * anchors;
    std::int32_t const row = cell / level.width;
    std::int32_t const column = cell - row * level.width;
    std::int32_t const cells = level.height * level.width;
    float const* const delta = level.deltas + 4 * anchor * cells + cell;
    BoxDelta const shift{delta[0], delta[cells], delta[2 * cells], delta[3 * cells]};
    return decodeBox(anchorAt(corners[anchor], row, column, level), shift, imageHeight, imageWidth);
}

} // namespace maskline
