// The C interface of MultiscaleRoIAlign in libmaskline_cuda.so and libmaskline_simt.so.
#include "common/export.h"
#include "common/status.h"
#include "roi_align/device/kernel.h"

#include <string>

//! Features of boxes on device pointers; queues on `stream` and returns. The array `features` itself lies on the host.
//!
//! @param attributes, shape mirrored by ctypes; checked here.
//! @return a maskline::Status; the text of a failure is in maskline_last_error().
MASKLINE_API int maskline_device_multiscale_roi_align(maskline::RoIAlignAttributes const* attributes,
    maskline::RoIAlignShape const* shape, void const* const* features, float const* boxes, void* output, void* stream)
{
    return maskline::guarded("MultiscaleRoIAlign", [&]() -> std::string {
        std::string broken = attributes->check();
        broken = broken.empty() ? shape->check(attributes->numLevels) : broken;
        if (broken.empty())
        {
            cudaError_t const status = maskline::launchMultiscaleRoIAlign(
                *attributes, *shape, features, boxes, output, static_cast<cudaStream_t>(stream));
            broken = maskline::refusedLaunch(status);
        }
        return broken;
    });
}
