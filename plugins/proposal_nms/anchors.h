// The anchors of a cell, computed on the host once a call.
#pragma once

#include "proposal_nms/attributes.h"
#include "proposal_nms/math.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace maskline
{

//! Corner offsets of every level's anchors around their centre, px: level i from i * A on, by size, then by ratio.
using Corners = std::array<Box, ProposalNMSAttributes::kMAX_CORNERS>;

inline Corners cornersOf(ProposalNMSAttributes const& attributes)
{
    Corners corners{};
    std::size_t count = 0;
    for (auto const size : attributes.anchorSizes)
    {
        for (auto const ratio : attributes.aspectRatios)
        {
            float const height = std::sqrt(ratio);
            float const width = 1.F / height;
            float halfWidth = width * size / 2.F;
            float halfHeight = height * size / 2.F;
            if (attributes.anchorRounded)
            {
                halfWidth = std::nearbyint(halfWidth);
                halfHeight = std::nearbyint(halfHeight);
            }
            corners[count++] = {-halfWidth, -halfHeight, halfWidth, halfHeight};
        }
    }
    return corners;
}

} // namespace maskline
