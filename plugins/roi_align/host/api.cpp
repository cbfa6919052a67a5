// The C interface of MultiscaleRoIAlign in libmaskline_host.so.
#include "common/export.h"
#include "common/status.h"
#include "roi_align/host/op.h"

#include <string>

//! Features of boxes, each box read from the pyramid level of its size, on host pointers.
//!
//! @param attributes, shape mirrored by ctypes; checked here.
//! @param features L pointers to [B, C, Hi, Wi] in the type and layout of `shape`.
//! @param boxes float32 [B, R, 4] xyxy, px.
//! @param output [B * R, C, P, P] in the type and layout of `shape`.
//! @param threads 0: all cores this process may use.
//! @return a maskline::Status; the text of a failure is in maskline_last_error().
MASKLINE_API int maskline_host_multiscale_roi_align(maskline::RoIAlignAttributes const* attributes,
    maskline::RoIAlignShape const* shape, void const* const* features, float const* boxes, void* output, int threads)
{
    return maskline::guarded("MultiscaleRoIAlign", [&]() -> std::string {
        std::string broken = attributes->check();
        broken = broken.empty() ? shape->check(attributes->numLevels) : broken;
        if (broken.empty())
        {
            maskline::multiscaleRoIAlign({*attributes, *shape, features, boxes, output}, threads);
        }
        return broken;
    });
}
