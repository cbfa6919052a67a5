// ClasswiseNMS in the plain C interface of libmaskline_host.so.

#include "classwise_nms/c_config.h"
#include "classwise_nms/host/op.h"
#include "common/export.h"
#include "common/status.h"

#include <cstdint>
#include <string>

//! See ClasswiseNMSHostBuffers for the arrays. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_host_classwise_nms(MasklineClasswiseNMS const* config, float const* classLogits,
    float const* boxDeltas, float const* proposals, std::int32_t const* numProposals, float const* imageInfo,
    float* boxes, float* scores, std::int32_t* labels, std::int32_t* numDetections, int threads)
{
    return maskline::guarded("ClasswiseNMS", [&]() -> std::string {
        maskline::ClasswiseNMSAttributes attributes;
        maskline::ClasswiseNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (text.empty())
        {
            maskline::classwiseNMSHost(attributes, shape,
                {classLogits, boxDeltas, proposals, numProposals, imageInfo, boxes, scores, labels, numDetections},
                threads);
        }
        return text;
    });
}
