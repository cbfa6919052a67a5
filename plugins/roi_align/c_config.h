// MultiscaleRoIAlign as the plain C interfaces take it: attributes and shape in one struct.
#pragma once

#include "common/c_head.h"
#include "roi_align/attributes.h"
#include "roi_align/mask_targets.h"

#include <cstdint>
#include <string>

extern "C"
{
    //! Attributes and shape of a call: the op's own structs, which hold numbers of 4 bytes only.
    struct MasklineMultiscaleRoIAlign
    {
        MasklineHead head;
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
    };

    //! The same of a call of the backward; the type is that of the incoming gradient and, for maxima, of the features.
    struct MasklineMultiscaleRoIAlignBackward
    {
        MasklineHead head;
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
        std::int32_t deterministic; //!< 1: the same bytes from run to run; 0: faster
    };

    //! Sizes of a call of the mask targets.
    struct MasklineMaskTargets
    {
        MasklineHead head;
        std::int64_t pixels;  //!< P, bytes of all crops
        std::int32_t rows;    //!< N, RoIs
        std::int32_t side;    //!< M
        std::int32_t aligned; //!< 0 or 1
    };
}

namespace maskline
{

//! Reads a C struct. Returns "" or the rule that is broken; then the outputs are of no use.
inline std::string read(MasklineMultiscaleRoIAlign const& config, RoIAlignAttributes& attributes, RoIAlignShape& shape)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    attributes = config.attributes;
    shape = config.shape;
    std::string const text = attributes.check();
    return text.empty() ? shape.check(attributes.numLevels) : text;
}

inline bool isMaximum(RoIAlignMode mode)
{
    return mode == RoIAlignMode::kALIGN_MAX || mode == RoIAlignMode::kPOOL;
}

//! The same for a call of the backward.
inline std::string read(
    MasklineMultiscaleRoIAlignBackward const& config, RoIAlignAttributes& attributes, RoIAlignShape& shape)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    MasklineMultiscaleRoIAlign forward = makeConfig<MasklineMultiscaleRoIAlign>();
    forward.attributes = config.attributes;
    forward.shape = config.shape;
    std::string const text = read(forward, attributes, shape);
    if (!text.empty())
    {
        return text;
    }
    if (isMaximum(attributes.mode) && config.deterministic != 0)
    {
        return std::string("deterministic: got 1, expected 0 for mode ")
            + kROI_ALIGN_MODE_NAMES[static_cast<std::int32_t>(attributes.mode)];
    }
    bool const known = config.deterministic == 0 || config.deterministic == 1;
    return known ? "" : "deterministic: got " + std::to_string(config.deterministic) + ", expected 0..1";
}

//! The same for a call of the mask targets.
inline std::string read(MasklineMaskTargets const& config, MaskTargetsShape& shape)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    shape = {config.pixels, config.rows, config.side, config.aligned};
    std::int32_t const most = kROI_ALIGN_MAX_POOLED_SIDE;
    if (shape.side < 1 || shape.side > most)
    {
        return "side: got " + std::to_string(shape.side) + ", expected 1.." + std::to_string(most);
    }
    if (shape.aligned != 0 && shape.aligned != 1)
    {
        return "aligned: got " + std::to_string(shape.aligned) + ", expected 0..1";
    }
    if (shape.rows < 0 || shape.pixels < 0)
    {
        return "RoIs and pixels: got " + std::to_string(shape.rows) + " and " + std::to_string(shape.pixels)
            + ", expected 0 or more";
    }
    return "";
}

} // namespace maskline
