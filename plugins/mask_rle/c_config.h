// MaskRLE as the plain C interfaces take it: attributes, sizes and type in one struct.
#pragma once

#include "common/c_head.h"
#include "mask_rle/attributes.h"

#include <cstdint>
#include <string>

extern "C"
{
    //! Attributes, sizes and type of a call.
    struct MasklineMaskRLE
    {
        MasklineHead head;
        std::int32_t batch;      //!< B
        std::int32_t detections; //!< D
        std::int32_t side;       //!< M
        std::int32_t maxCounts;
        std::int32_t paste;    //!< a maskline::mask_rle::PasteRule
        std::int32_t maskType; //!< a maskline::MaskType; the host takes 0, float32, alone
    };
}

namespace maskline
{

//! Reads a C struct. Returns "" or the rule that is broken; then the outputs are of no use.
inline std::string read(
    MasklineMaskRLE const& config, MaskRLEAttributes& attributes, MaskRLEShape& shape, MaskType& type)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    if (config.maskType < 0 || config.maskType > static_cast<std::int32_t>(MaskType::kBFLOAT16))
    {
        return "type of the masks: got " + std::to_string(config.maskType)
            + ", expected 0 (float32), 1 (float16) or 2 (bfloat16)";
    }
    if (config.paste != 0 && config.paste != 1)
    {
        return "paste: got " + std::to_string(config.paste) + ", expected 0 (aligned) or 1 (detectron)";
    }
    type = static_cast<MaskType>(config.maskType);
    attributes.paste = static_cast<mask_rle::PasteRule>(config.paste);
    attributes.maxCounts = config.maxCounts;
    shape.images = config.batch;
    shape.detections = config.detections;
    shape.side = config.side;
    std::string const text = attributes.check();
    return text.empty() ? shape.check() : text;
}

} // namespace maskline
