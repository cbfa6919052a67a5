// MultiscaleRoIAlign as the plain C interfaces take it: attributes and shape in one struct.
#pragma once

#include "common/c_head.h"
#include "roi_align/attributes.h"

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

} // namespace maskline
