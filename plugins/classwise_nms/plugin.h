// ClasswiseNMS as a TensorRT plugin: what framework/plugin.h asks of an op.
#pragma once

#include "classwise_nms/attributes.h"
#include "framework/base.h"
#include "framework/signature.h"

#include <cstddef>
#include <string>
#include <vector>

namespace maskline
{

//! `ClasswiseNMS(class_logits [B*R,K+1], box_deltas [B*R,4K], proposals [B,R,4], num_proposals [B] int32,
//! image_info [B,6]) -> boxes [B,D,4], scores [B,D], labels [B,D] int32, num_detections [B,1] int32`; FLOAT but for
//! what says int32, so that the order of candidates never changes with an engine's precision.
struct ClasswiseNMSOp
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

    static Signature signature(Attributes const& attributes);
    static std::string checkSizes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static std::size_t workspaceBytes(Attributes const& attributes, std::vector<nvinfer1::Dims> const& inputs);
    static cudaError_t launch(Attributes const& attributes, Launch const& launch);
};

} // namespace maskline
