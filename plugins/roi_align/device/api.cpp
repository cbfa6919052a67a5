// MultiscaleRoIAlign, its backward and mask targets in the plain C interface of libmaskline_cuda.so and
// libmaskline_simt.so: device pointers and a stream.

#include "common/export.h"
#include "common/status.h"
#include "roi_align/c_config.h"
#include "roi_align/device/backward.h"
#include "roi_align/device/kernel.h"
#include "roi_align/device/mask_targets.h"

#include <cstdint>
#include <string>

//! Queues the op; see launchMultiscaleRoIAlign for the arrays (that of pointers is host memory).
MASKLINE_API int maskline_device_multiscale_roi_align(MasklineMultiscaleRoIAlign const* config,
    void const* const* features, float const* boxes, std::int64_t const* images, void* output, void* stream)
{
    return maskline::guarded("MultiscaleRoIAlign", [&]() -> std::string {
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (!text.empty())
        {
            return text;
        }
        return maskline::refusedLaunch(maskline::launchMultiscaleRoIAlign(
            attributes, shape, features, boxes, images, output, static_cast<cudaStream_t>(stream)));
    });
}

//! Queues the gradient of the features; see device/backward.h for the arrays (those of pointers are host memory).
//!
//! @param features null for averages.
MASKLINE_API int maskline_device_multiscale_roi_align_backward(MasklineMultiscaleRoIAlignBackward const* config,
    void const* const* features, void const* pooled, float const* boxes, std::int64_t const* images,
    float* const* gradients, void* stream)
{
    return maskline::guarded("MultiscaleRoIAlignBackward", [&]() -> std::string {
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (!text.empty())
        {
            return text;
        }
        auto const queue = static_cast<cudaStream_t>(stream);
        if (!maskline::isMaximum(attributes.mode))
        {
            return maskline::refusedLaunch(maskline::launchMultiscaleRoIAlignBackward(
                attributes, shape, config->deterministic != 0, pooled, boxes, images, gradients, queue));
        }
        if (features == nullptr)
        {
            return "features: got none, expected those of each level: they say where the maximum was";
        }
        return maskline::refusedLaunch(maskline::launchMultiscaleRoIAlignBackwardOfMaxima(
            attributes, shape, features, pooled, boxes, images, gradients, queue));
    });
}

//! Queues the mask targets; see MaskTargetsBuffers for the arrays.
MASKLINE_API int maskline_device_mask_targets(MasklineMaskTargets const* config, std::uint8_t const* pixels,
    std::int64_t const* starts, std::int32_t const* windows, float const* boxes, float* targets, void* stream)
{
    return maskline::guarded("MaskTargets", [&]() -> std::string {
        maskline::MaskTargetsShape shape;
        std::string text = maskline::read(*config, shape);
        if (!text.empty())
        {
            return text;
        }
        return maskline::refusedLaunch(maskline::launchMaskTargets(
            shape, {pixels, starts, windows, boxes, targets}, static_cast<cudaStream_t>(stream)));
    });
}
