// ClasswiseNMS as a node of a graph: attributes, tensors and sizes, for TensorRT and for ONNX Runtime.
#pragma once

#include "classwise_nms/attributes.h"
#include "node/signature.h"

#include <cstddef>
#include <string>
#include <vector>

namespace maskline
{

//! `ClasswiseNMS(class_logits [B*R,K+1], box_deltas [B*R,4K], proposals [B,R,4], num_proposals [B] int32,
//! image_info [B,6]) -> boxes [B,D,4], scores [B,D], labels [B,D] int32, num_detections [B,1] int32`; FLOAT but for
//! what says int32, so that the order of candidates never changes with an engine's precision.
struct ClasswiseNMSNode
{
    using Attributes = ClasswiseNMSAttributes;
    static constexpr char const* kNAME = "ClasswiseNMS";

    template <typename Visitor, typename AnyAttributes>
    static void visit(Visitor& visitor, AnyAttributes& attributes)
    {
        visitor("num_classes", attributes.numClasses);
        visitor("score_thresh", attributes.scoreThresh);
        visitor("nms_thresh", attributes.nmsThresh);
        visitor("max_detections", attributes.maxDetections);
        visitor("delta_weights", attributes.deltaWeights);
        visitor("min_side", attributes.minSide);
    }

    static constexpr std::size_t kFIRST_OF_MANY{5}; //!< none

    //! Attributes of some node.
    static Attributes example()
    {
        return {};
    }

    static Signature signature(Attributes const& attributes);

    //! What the signature cannot say; the shapes of the inputs are all known and have passed it. "" or the rule.
    static std::string checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs);

    //! The sizes of a call; for inputs that have passed the signature.
    static ClasswiseNMSShape shapeOf(Attributes const& attributes, std::vector<Shape> const& inputs);
};

} // namespace maskline
