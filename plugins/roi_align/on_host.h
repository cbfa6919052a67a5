// MultiscaleRoIAlign on the host, as a node of ONNX Runtime.
#pragma once

#include "node/call.h"
#include "roi_align/node.h"

namespace maskline
{

//! The node, and how it runs on the host.
struct RoIAlignOnHost : RoIAlignNode
{
    //! Runs the op. Never called when all outputs are empty.
    static void run(Attributes const& attributes, Call const& call);
};

} // namespace maskline
