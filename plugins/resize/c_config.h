// Resize as the plain C interface takes it: sizes and filter in one struct.
#pragma once

#include "common/c_head.h"
#include "resize/host/op.h"

#include <cstdint>
#include <string>

extern "C"
{
    //! Sizes and filter of a call.
    struct MasklineResize
    {
        MasklineHead head;
        std::int32_t height; //!< H
        std::int32_t width;  //!< W
        std::int32_t resizedHeight;
        std::int32_t resizedWidth;
        std::int32_t filter; //!< a maskline::ResizeFilter
    };
}

namespace maskline
{

//! Reads a C struct. Returns "" or the rule that is broken; then the output is of no use.
inline std::string read(MasklineResize const& config, ResizeShape& shape, ResizeFilter& filter)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    if (config.filter < 0 || config.filter > static_cast<std::int32_t>(ResizeFilter::kTORCH))
    {
        return "filter: got " + std::to_string(config.filter) + ", expected 0 (cv2) or 1 (torch)";
    }
    filter = static_cast<ResizeFilter>(config.filter);
    shape = {config.height, config.width, config.resizedHeight, config.resizedWidth};
    return shape.check();
}

} // namespace maskline
