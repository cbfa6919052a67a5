// MaskRLE in the plain C interface of libmaskline_cuda.so and libmaskline_simt.so: device pointers and a stream.

#include "common/export.h"
#include "common/status.h"
#include "mask_rle/c_config.h"
#include "mask_rle/device/kernel.h"

#include <cstdint>
#include <string>

//! Queues the op; see MaskRLEBuffers for the arrays. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_device_mask_rle(MasklineMaskRLE const* config, void const* masks, float const* boxes,
    std::int32_t const* numDetections, float const* imageInfo, std::int32_t* counts, std::int32_t* numCounts,
    float* imageBoxes, void* stream)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::MaskRLEAttributes attributes;
        maskline::MaskRLEShape shape;
        maskline::MaskType type{maskline::MaskType::kFLOAT32};
        std::string text = maskline::read(*config, attributes, shape, type);
        if (!text.empty())
        {
            return text;
        }
        return maskline::refusedLaunch(maskline::launchMaskRLE(attributes, shape, type,
            {masks, boxes, numDetections, imageInfo, counts, numCounts, imageBoxes},
            static_cast<cudaStream_t>(stream)));
    });
}
