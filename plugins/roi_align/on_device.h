// MultiscaleRoIAlign on a GPU, as a node of TensorRT or ONNX Runtime.
#pragma once

#include "node/device_call.h"
#include "roi_align/node.h"

#include <cstddef>
#include <vector>

namespace maskline
{

//! The node, and how it runs on a GPU.
struct RoIAlignOnDevice : RoIAlignNode
{
    //! Bytes of workspace that inputs of these shapes, or smaller ones, need.
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs);

    //! Queues the op. Never called when all outputs are empty.
    static cudaError_t launch(Attributes const& attributes, DeviceCall const& call);
};

} // namespace maskline
