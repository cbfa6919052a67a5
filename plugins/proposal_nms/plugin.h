// ProposalNMS as a TensorRT plugin.
#pragma once

#include "framework/base.h"
#include "proposal_nms/attributes.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{

//! `ProposalNMS(image_info [B,6], logits [B,A,Hi,Wi] x L, deltas [B,4A,Hi,Wi] x L) -> proposals [B,R,4], num_proposals
//! [B] int32`; FLOAT but for what says int32, so that the order of anchors never changes with an engine's precision.
class ProposalNMSPlugin final : public PluginBase
{
public:
    using Attributes = ProposalNMSAttributes;
    static constexpr char const* kNAME = "ProposalNMS";

    explicit ProposalNMSPlugin(Attributes const& attributes);

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

protected:
    std::unique_ptr<PluginBase> copy() const override;
    std::string checkSizes(std::vector<nvinfer1::Dims> const& inputs) const override;
    std::size_t workspaceBytes(std::vector<nvinfer1::Dims> const& inputs) const override;
    cudaError_t launch(Launch const& launch) const override;

private:
    ProposalNMSShape shapeOf(std::vector<nvinfer1::Dims> const& inputs) const;

    Attributes mAttributes;
};

} // namespace maskline
