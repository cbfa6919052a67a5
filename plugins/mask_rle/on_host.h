// MaskRLE on the host, as a node of ONNX Runtime.
#pragma once

#include "mask_rle/node.h"
#include "node/call.h"

namespace maskline
{

//! The node, and how it runs on the host.
struct MaskRLEOnHost : MaskRLENode
{
    //! Runs the op. Never called when all outputs are empty.
    static void run(Attributes const& attributes, Call const& call);
};

} // namespace maskline
