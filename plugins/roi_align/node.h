// MultiscaleRoIAlign as a node of a graph: attributes, tensors and sizes, for TensorRT and for ONNX Runtime.
#pragma once

#include "node/call.h"
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
struct RoIAlignNode
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

    static constexpr std::size_t kFIRST_OF_MANY{1}; //!< features

    //! Attributes of a node with as few inputs as there may be.
    static Attributes example();

    static Signature signature(Attributes const& attributes);

    //! What the signature cannot say; the shapes of the inputs are all known and have passed it. "" or the rule.
    static std::string checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs);

    //! Sizes, type and layout of a call.
    static RoIAlignShape shapeOf(Attributes const& attributes, Call const& call);
};

} // namespace maskline
