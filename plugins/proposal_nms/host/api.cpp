// ProposalNMS in the plain C interface of libmaskline_host.so.

#include "common/export.h"
#include "common/status.h"
#include "proposal_nms/c_config.h"
#include "proposal_nms/host/op.h"

#include <cstdint>
#include <string>

//! See ProposalNMSHostBuffers for the arrays. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_host_proposal_nms(MasklineProposalNMS const* config, float const* imageInfo,
    float const* const* logits, float const* const* deltas, float* proposals, std::int32_t* numProposals, int threads)
{
    return maskline::guarded("ProposalNMS", [&]() -> std::string {
        maskline::ProposalNMSAttributes attributes;
        maskline::ProposalNMSShape shape;
        std::string text = maskline::read(*config, attributes, shape);
        if (text.empty())
        {
            maskline::proposalNMSHost(attributes, shape, {imageInfo, logits, deltas, proposals, numProposals}, threads);
        }
        return text;
    });
}
