// ClasswiseNMS as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "classwise_nms/node.h"
#include "framework/base.h"

#include <cstddef>
#include <vector>

namespace maskline
{

//! The node, and how it runs on a GPU.
struct ClasswiseNMSOp : ClasswiseNMSNode
{
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
