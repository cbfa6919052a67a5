// MaskRLE as a node of a graph: attributes, tensors and sizes, for TensorRT and for ONNX Runtime.
#pragma once

#include "mask_rle/attributes.h"
#include "node/signature.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

//! The attributes as a node carries them.
struct MaskRLEFields
{
    std::int32_t maxCounts{MaskRLEAttributes{}.maxCounts};
    std::string paste{kPASTE_NAMES[0]};

    //! "" or the rule that is broken, with what was got and what is expected.
    std::string check() const;

    //! What the kernel takes; of fields that pass `check`.
    MaskRLEAttributes attributes() const;
};

//! `MaskRLE(masks [B,D,M,M], boxes [B,D,4], num_detections [B,1] int32, image_info [B,6]) -> counts [B,D,max_counts]
//! int32, num_counts [B,D] int32, image_boxes [B,D,4]`; masks are FLOAT, HALF or BF16.
struct MaskRLENode
{
    using Attributes = MaskRLEFields;
    static constexpr char const* kNAME = "MaskRLE";

    template <typename Visitor, typename AnyAttributes>
    static void visit(Visitor& visitor, AnyAttributes& attributes)
    {
        visitor("max_counts", attributes.maxCounts);
        visitor("paste", attributes.paste);
    }

    static constexpr std::size_t kFIRST_OF_MANY{4}; //!< none

    //! Attributes of some node.
    static Attributes example()
    {
        return {};
    }

    static Signature signature(Attributes const& attributes);

    //! What the signature cannot say; the shapes of the inputs are all known and have passed it. "" or the rule.
    static std::string checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs);

    //! The sizes of a call; for inputs that have passed the signature.
    static MaskRLEShape shapeOf(Attributes const& attributes, std::vector<Shape> const& inputs);
};

} // namespace maskline
