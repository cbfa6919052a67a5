// MultiscaleRoIAlign as a custom op of ONNX Runtime: what ort/op.h asks of an op.
#pragma once

#include "ort/op.h"
#include "roi_align/node.h"

#include <cstddef>

namespace maskline
{

//! The node, and how it runs on the host.
struct RoIAlignHostOp : RoIAlignNode
{
    static constexpr std::size_t kFIRST_OF_MANY{1}; //!< features

    static Attributes example();
    static void compute(Attributes const& given, HostCall const& call);
};

} // namespace maskline
