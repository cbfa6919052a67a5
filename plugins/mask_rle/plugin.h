// MaskRLE as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "framework/base.h"
#include "framework/signature.h"
#include "mask_rle/attributes.h"

#include <cstddef>
#include <string>
#include <vector>

namespace maskline
{

//! `MaskRLE(masks [B,D,M,M], boxes [B,D,4], num_detections [B,1] int32, image_info [B,6]) -> counts [B,D,max_counts]
//! int32, num_counts [B,D] int32, image_boxes [B,D,4]`; masks are FLOAT, HALF or BF16 (plugins take no UINT8).
struct MaskRLEOp
{
    using Attributes = MaskRLEAttributes;
    static constexpr char const* kNAME = "MaskRLE";

    template <typename Visitor, typename AnyAttributes>
    static void visit(Visitor& visitor, AnyAttributes& attributes)
    {
        visitor("max_counts", attributes.maxCounts);
    }

    static Signature signature(Attributes const& attributes);
    static std::string checkSizes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
