// ProposalNMS as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "framework/base.h"
#include "proposal_nms/node.h"

#include <cstddef>
#include <vector>

namespace maskline
{

//! The node, and how it runs on a GPU.
struct ProposalNMSOp : ProposalNMSNode
{
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
