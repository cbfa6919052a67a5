// ProposalNMS as the plain C interfaces take it: attributes and sizes in one struct.
#pragma once

#include "common/c_head.h"
#include "proposal_nms/attributes.h"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C"
{
    //! Attributes and sizes of a call; the arrays stay the caller's.
    struct MasklineProposalNMS
    {
        MasklineHead head;
        std::int32_t batch;    //!< B
        std::int32_t levels;   //!< L
        std::int32_t numSizes; //!< of all levels
        std::int32_t numRatios;
        std::int32_t anchorRounded;  //!< 0 or 1
        std::int32_t preNmsPerLevel; //!< T
        std::int32_t maxProposals;   //!< R
        float anchorCentreOffset;    //!< in strides
        float nmsThresh;
        float minSide;               //!< px
        std::int32_t const* heights; //!< [L] Hi
        std::int32_t const* widths;  //!< [L] Wi
        std::int32_t const* strides; //!< [L] px
        float const* anchorSizes;    //!< [numSizes] px
        float const* aspectRatios;   //!< [numRatios] height / width
    };
}

namespace maskline
{

//! Reads a C struct. Returns "" or the rule that is broken; then the outputs are of no use.
inline std::string read(MasklineProposalNMS const& config, ProposalNMSAttributes& attributes, ProposalNMSShape& shape)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    if (config.levels < 1 || config.levels > ProposalNMSAttributes::kMAX_LEVELS)
    {
        return "strides: got " + std::to_string(config.levels) + " levels, expected 1.."
            + std::to_string(ProposalNMSAttributes::kMAX_LEVELS);
    }
    std::int32_t const most = ProposalNMSAttributes::kMAX_CORNERS;
    if (config.numSizes < 0 || config.numSizes > most || config.numRatios < 0 || config.numRatios > most)
    {
        return "anchor_sizes and aspect_ratios: got " + std::to_string(config.numSizes) + " and "
            + std::to_string(config.numRatios) + " values, expected at most " + std::to_string(most);
    }
    attributes.strides.assign(config.strides, config.strides + config.levels);
    attributes.anchorSizes.assign(config.anchorSizes, config.anchorSizes + config.numSizes);
    attributes.aspectRatios.assign(config.aspectRatios, config.aspectRatios + config.numRatios);
    attributes.anchorRounded = config.anchorRounded != 0;
    attributes.anchorCentreOffset = config.anchorCentreOffset;
    attributes.preNmsPerLevel = config.preNmsPerLevel;
    attributes.maxProposals = config.maxProposals;
    attributes.nmsThresh = config.nmsThresh;
    attributes.minSide = config.minSide;
    std::string const text = attributes.check();
    if (!text.empty())
    {
        return text;
    }
    shape.batch = config.batch;
    shape.levels = config.levels;
    for (std::size_t level = 0; level < static_cast<std::size_t>(config.levels); ++level)
    {
        shape.heights[level] = config.heights[level];
        shape.widths[level] = config.widths[level];
    }
    return shape.check(attributes);
}

} // namespace maskline
