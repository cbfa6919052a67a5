// ClasswiseNMS as a custom op of ONNX Runtime: what ort/op.h asks of an op.
#pragma once

#include "classwise_nms/node.h"
#include "ort/op.h"

#include <cstddef>

namespace maskline
{

//! The node, and how it runs on the host.
struct ClasswiseNMSHostOp : ClasswiseNMSNode
{
    static constexpr std::size_t kFIRST_OF_MANY{5}; //!< none

    static Attributes example();
    static void compute(Attributes const& attributes, HostCall const& call);
};

} // namespace maskline
