// MaskRLE as a TensorRT plugin.
#pragma once

#include "framework/base.h"
#include "mask_rle/attributes.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{

//! `MaskRLE(masks [B,D,M,M], boxes [B,D,4], num_detections [B,1] int32, image_info [B,6]) -> counts [B,D,max_counts]
//! int32, num_counts [B,D] int32, image_boxes [B,D,4]`; masks are FLOAT, HALF or BF16 (plugins take no UINT8).
class MaskRLEPlugin final : public PluginBase
{
public:
    using Attributes = MaskRLEAttributes;
    static constexpr char const* kNAME = "MaskRLE";

    explicit MaskRLEPlugin(Attributes const& attributes);

    template <typename Visitor, typename AnyAttributes>
    static void visit(Visitor& visitor, AnyAttributes& attributes)
    {
        visitor("max_counts", attributes.maxCounts);
    }

protected:
    std::unique_ptr<PluginBase> copy() const override;
    std::string checkSizes(std::vector<nvinfer1::Dims> const& inputs) const override;
    std::size_t workspaceBytes(std::vector<nvinfer1::Dims> const& inputs) const override;
    cudaError_t launch(Launch const& launch) const override;

private:
    Attributes mAttributes;
};

} // namespace maskline
