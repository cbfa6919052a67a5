// The anchors of a cell, computed on the host once a call.
#pragma once

#include "proposal_nms/attributes.h"
#include "proposal_nms/math.h"

#include <array>
#include <cmath>

namespace maskline
{

using CellAnchors = std::array<Box, ProposalNMSAttributes::kMAX_ANCHORS>;

//! Corner offsets of a level's anchors around their centre, px; the first A entries.
inline CellAnchors cellAnchors(ProposalNMSAttributes const& attributes, std::int32_t level)
{
    CellAnchors anchors{};
    float const size = attributes.anchorSizes[static_cast<std::size_t>(level)];
    for (std::size_t i = 0; i < attributes.aspectRatios.size(); ++i)
    {
        float const height = std::sqrt(attributes.aspectRatios[i]);
        float const width = 1.F / height;
        float halfWidth = width * size / 2.F;
        float halfHeight = height * size / 2.F;
        if (attributes.anchorRounded)
        {
            halfWidth = std::nearbyint(halfWidth);
            halfHeight = std::nearbyint(halfHeight);
        }
        anchors[i] = {-halfWidth, -halfHeight, halfWidth, halfHeight};
    }
    return anchors;
}

} // namespace maskline
