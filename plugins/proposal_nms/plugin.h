// ProposalNMS as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "framework/base.h"
#include "framework/signature.h"
#include "proposal_nms/attributes.h"

#include <cstddef>
#include <string>
#include <vector>

namespace maskline
{

//! `ProposalNMS(image_info [B,6], logits [B,A,Hi,Wi] x L, deltas [B,4A,Hi,Wi] x L) -> proposals [B,R,4], num_proposals
//! [B] int32`; FLOAT but for what says int32, so that the order of anchors never changes with an engine's precision.
struct ProposalNMSOp
{
    using Attributes = ProposalNMSAttributes;
    static constexpr char const* kNAME = "ProposalNMS";

    template <typename Visitor, typename AnyAttributes>
    static void visit(Visitor& visitor, AnyAttributes& attributes)
    {
        visitor("strides", attributes.strides);
        visitor("anchor_sizes", attributes.anchorSizes);
        visitor("aspect_ratios", attributes.aspectRatios);
        visitor("anchor_rounded", attributes.anchorRounded);
        visitor("anchor_centre_offset", attributes.anchorCentreOffset);
        visitor("pre_nms_per_level", attributes.preNmsPerLevel);
        visitor("max_proposals", attributes.maxProposals);
        visitor("nms_thresh", attributes.nmsThresh);
        visitor("min_side", attributes.minSide);
    }

    static Signature signature(Attributes const& attributes);
    static std::string checkSizes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
