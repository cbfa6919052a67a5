// ProposalNMS in the plain C interface of libmaskline_cuda.so and libmaskline_simt.so: device pointers and a stream.

#include "common/export.h"
#include "common/status.h"
#include "proposal_nms/c_config.h"
#include "proposal_nms/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <string>

//! Bytes of workspace that a call needs, into `bytes`.
MASKLINE_API int maskline_device_proposal_nms_workspace(MasklineProposalNMS const* config, std::size_t* bytes)
{
    return maskline::guarded("ProposalNMS", [&]() -> std::string {
        maskline::ProposalNMSAttributes attributes;
        maskline::ProposalNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        *bytes = text.empty() ? maskline::proposalNMSWorkspaceBytes(attributes, shape) : 0;
        return text;
    });
}

//! Queues the op; see ProposalNMSBuffers for the arrays (the two arrays of pointers are host memory).
MASKLINE_API int maskline_device_proposal_nms(MasklineProposalNMS const* config, float const* imageInfo,
    float const* const* logits, float const* const* deltas, float* proposals, std::int32_t* numProposals,
    void* workspace, void* stream)
{
    return maskline::guarded("ProposalNMS", [&]() -> std::string {
        maskline::ProposalNMSAttributes attributes;
        maskline::ProposalNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (!text.empty())
        {
            return text;
        }
        cudaError_t const error = maskline::launchProposalNMS(attributes, shape,
            {imageInfo, logits, deltas, proposals, numProposals}, workspace, static_cast<cudaStream_t>(stream));
        return maskline::refusedLaunch(error);
    });
}
