// ClasswiseNMS in the plain C interface of libmaskline_cuda.so and libmaskline_simt.so: device pointers and a stream.

#include "classwise_nms/c_config.h"
#include "classwise_nms/device/kernel.h"
#include "common/export.h"
#include "common/status.h"

#include <cstddef>
#include <cstdint>
#include <string>

//! Bytes of workspace that a call needs, into `bytes`.
MASKLINE_API int maskline_device_classwise_nms_workspace(MasklineClasswiseNMS const* config, std::size_t* bytes)
{
    return maskline::guarded("ClasswiseNMS", [&]() -> std::string {
        maskline::ClasswiseNMSAttributes attributes;
        maskline::ClasswiseNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        *bytes = text.empty() ? maskline::classwiseNMSWorkspaceBytes(attributes, shape) : 0;
        return text;
    });
}

//! Queues the op; see ClasswiseNMSBuffers for the arrays.
MASKLINE_API int maskline_device_classwise_nms(MasklineClasswiseNMS const* config, float const* classLogits,
    float const* boxDeltas, float const* proposals, std::int32_t const* numProposals, float const* imageInfo,
    float* boxes, float* scores, std::int32_t* labels, std::int32_t* numDetections, void* workspace, void* stream)
{
    return maskline::guarded("ClasswiseNMS", [&]() -> std::string {
        maskline::ClasswiseNMSAttributes attributes;
        maskline::ClasswiseNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (!text.empty())
        {
            return text;
        }
        cudaError_t const error = maskline::launchClasswiseNMS(attributes, shape,
            {classLogits, boxDeltas, proposals, numProposals, imageInfo, boxes, scores, labels, numDetections},
            workspace, static_cast<cudaStream_t>(stream));
        return maskline::refusedLaunch(error);
    });
}
