// The C interface of MaskRLE in libmaskline_cuda.so and libmaskline_simt.so.
#include "common/export.h"
#include "common/status.h"
#include "mask_rle/device/kernel.h"

#include <cstdint>
#include <string>

//! Run lengths of masks on device pointers; queues on `stream` and returns.
//!
//! @param shape, buffers mirrored by ctypes; the shape is checked here.
//! @return a maskline::Status; the text of a failure is in maskline_last_error().
MASKLINE_API int maskline_device_mask_rle(std::int32_t maxCounts, maskline::MaskRLEShape const* shape,
    std::int32_t maskType, maskline::MaskRLEBuffers const* buffers, void* stream)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::MaskRLEAttributes const attributes{maxCounts};
        std::string broken = attributes.check();
        broken = broken.empty() ? shape->check() : broken;
        if (broken.empty())
        {
            cudaError_t const status = maskline::launchMaskRLE(attributes, *shape,
                static_cast<maskline::MaskType>(maskType), *buffers, static_cast<cudaStream_t>(stream));
            broken = maskline::refusedLaunch(status);
        }
        return broken;
    });
}
