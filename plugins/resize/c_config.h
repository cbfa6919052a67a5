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
    if (config.filter < 0 || config.filter > static_cast<std::int32_t>(ResizeFilter::kPILLOW))
    {
        return "filter: got " + std::to_string(config.filter) + ", expected 0 (cv2), 1 (torch) or 2 (pillow)";
    }
    filter = static_cast<ResizeFilter>(config.filter);
    shape = {config.height, config.width, config.resizedHeight, config.resizedWidth};
    std::string const wrong = shape.check();
    if (wrong.empty() && filter == ResizeFilter::kPILLOW && shape.resizedHeight < shape.height)
    {
        return "resized height: got " + std::to_string(shape.resizedHeight) + ", expected the picture's "
            + std::to_string(shape.height) + " or more: a picture that becomes lower may have its columns done first";
    }
    return wrong;
}

} // namespace maskline
