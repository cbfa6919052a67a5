// ProposalNMS as a node of a graph: attributes, tensors and sizes, for TensorRT and for ONNX Runtime.
#pragma once

#include "node/call.h"
#include "node/signature.h"
#include "proposal_nms/attributes.h"

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace maskline
{

//! `ProposalNMS(image_info [B,6], logits [B,A,Hi,Wi] x L, deltas [B,4A,Hi,Wi] x L) -> proposals [B,R,4], num_proposals
//! [B] int32`; FLOAT but for what says int32, so that the order of anchors never changes with an engine's precision.
struct ProposalNMSNode
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

    static constexpr std::size_t kFIRST_OF_MANY{1}; //!< logits, then deltas

    //! Attributes of a node with as few inputs as there may be.
    static Attributes example();

    static Signature signature(Attributes const& attributes);

    //! What the signature cannot say; the shapes of the inputs are all known and have passed it. "" or the rule.
    static std::string checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs);

    //! Logits and deltas of each level, in the order of the strides.
    struct Levels
    {
        std::array<float const*, Attributes::kMAX_LEVELS> logits{};
        std::array<float const*, Attributes::kMAX_LEVELS> deltas{};
    };

    static Levels levelsOf(Attributes const& attributes, Call const& call);

    //! The sizes of a call; for inputs that have passed the signature.
    static ProposalNMSShape shapeOf(Attributes const& attributes, std::vector<Shape> const& inputs);
};

} // namespace maskline
