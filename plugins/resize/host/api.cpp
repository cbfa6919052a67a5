// Resize in the plain C interface of libmaskline_host.so.

#include "common/export.h"
#include "common/status.h"
#include "resize/c_config.h"
#include "resize/host/op.h"

#include <cstdint>
#include <string>

//! A picture [H, W, 3] to [h, w, 3], both uint8. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_host_resize(
    MasklineResize const* config, std::uint8_t const* image, std::uint8_t* resized, int threads)
{
    return maskline::guarded("Resize", [&]() -> std::string {
        maskline::ResizeShape shape{};
        maskline::ResizeFilter filter{maskline::ResizeFilter::kCV2};
        std::string text = maskline::read(*config, shape, filter);
        if (text.empty())
        {
            maskline::resize(shape, filter, image, threads, resized);
        }
        return text;
    });
}
