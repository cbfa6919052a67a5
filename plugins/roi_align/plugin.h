// MultiscaleRoIAlign as a TensorRT plugin.
#pragma once

#include "framework/base.h"
#include "roi_align/attributes.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{

//! The attributes as a node carries them.
struct RoIAlignFields
{
    std::vector<std::int32_t> strides;
    float canonicalSize{224.F};
    std::int32_t canonicalLevel{4};
    std::int32_t pooledSide{7};
    std::int32_t samplingRatio{2};
    bool aligned{true};
    std::string mode{kROI_ALIGN_MODE_NAMES[0]};

    //! "" or the rule that is broken.
    std::string check() const;

    //! What the kernel takes; of fields that pass `check`.
    RoIAlignAttributes attributes() const;
};

//! `MultiscaleRoIAlign(boxes [B,R,4], features [B,C,Hi,Wi] x L) -> [B*R,C,P,P]`; boxes are FLOAT, features and output
//! FLOAT, HALF or BF16 in NCHW, or HALF or BF16 with channels packed by eight, all alike.
class RoIAlignPlugin final : public PluginBase
{
public:
    using Attributes = RoIAlignFields;
    static constexpr char const* kNAME = "MultiscaleRoIAlign";

    explicit RoIAlignPlugin(RoIAlignFields const& given);

    template <typename Visitor, typename AnyFields>
    static void visit(Visitor& visitor, AnyFields& given)
    {
        visitor("strides", given.strides);
        visitor("canonical_size", given.canonicalSize);
        visitor("canonical_level", given.canonicalLevel);
        visitor("pooled_side", given.pooledSide);
        visitor("sampling_ratio", given.samplingRatio);
        visitor("aligned", given.aligned);
        visitor("mode", given.mode);
    }

protected:
    std::unique_ptr<PluginBase> copy() const override;
    std::string checkSizes(std::vector<nvinfer1::Dims> const& inputs) const override;
    std::size_t workspaceBytes(std::vector<nvinfer1::Dims> const& inputs) const override;
    cudaError_t launch(Launch const& launch) const override;

private:
    RoIAlignShape shapeOf(std::vector<nvinfer1::Dims> const& inputs) const;

    RoIAlignFields mGiven;
    RoIAlignAttributes mAttributes;
};

} // namespace maskline
