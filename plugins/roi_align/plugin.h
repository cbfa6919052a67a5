// MultiscaleRoIAlign as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "framework/base.h"
#include "framework/signature.h"
#include "roi_align/attributes.h"

#include <cstddef>
#include <cstdint>
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
struct RoIAlignOp
{
    using Attributes = RoIAlignFields;
    static constexpr char const* kNAME = "MultiscaleRoIAlign";

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

    static Signature signature(Attributes const& attributes);
    static std::string checkSizes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
