// ClasswiseNMS on the host, as a node of ONNX Runtime.
#pragma once

#include "classwise_nms/node.h"
#include "node/call.h"

namespace maskline
{

//! The node, and how it runs on the host.
struct ClasswiseNMSOnHost : ClasswiseNMSNode
{
    //! Runs the op. Never called when all outputs are empty.
    static void run(Attributes const& attributes, Call const& call);
};

} // namespace maskline
