// ProposalNMS as a custom op of ONNX Runtime: what ort/op.h asks of an op.
#pragma once

#include "ort/op.h"
#include "proposal_nms/node.h"

#include <cstddef>

namespace maskline
{

//! The node, and how it runs on the host.
struct ProposalNMSHostOp : ProposalNMSNode
{
    static constexpr std::size_t kFIRST_OF_MANY{1}; //!< logits, then deltas

    static Attributes example();
    static void compute(Attributes const& attributes, HostCall const& call);
};

} // namespace maskline
