// MultiscaleRoIAlign in the plain C interface of libmaskline_host.so.

#include "common/export.h"
#include "common/status.h"
#include "roi_align/c_config.h"
#include "roi_align/host/op.h"

#include <string>

//! See RoIAlignCall for the arrays. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_host_multiscale_roi_align(MasklineMultiscaleRoIAlign const* config,
    void const* const* features, float const* boxes, void* output, int threads)
{
    return maskline::guarded("MultiscaleRoIAlign", [&]() -> std::string {
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (text.empty())
        {
            maskline::multiscaleRoIAlign({attributes, shape, features, boxes, output}, threads);
        }
        return text;
    });
}
