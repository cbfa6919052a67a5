// ClasswiseNMS as a TensorRT plugin.
#pragma once

#include "classwise_nms/attributes.h"
#include "framework/base.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{

//! `ClasswiseNMS(class_logits [B*R,K+1], box_deltas [B*R,4K], proposals [B,R,4], num_proposals [B] int32,
//! image_info [B,6]) -> boxes [B,D,4], scores [B,D], labels [B,D] int32, num_detections [B,1] int32`; FLOAT but for
//! what says int32, so that the order of candidates never changes with an engine's precision.
class ClasswiseNMSPlugin final : public PluginBase
{
public:
    using Attributes = ClasswiseNMSAttributes;
    static constexpr char const* kNAME = "ClasswiseNMS";

    explicit ClasswiseNMSPlugin(Attributes const& attributes);

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

protected:
    std::unique_ptr<PluginBase> copy() const override;
    std::string checkSizes(std::vector<nvinfer1::Dims> const& inputs) const override;
    std::size_t workspaceBytes(std::vector<nvinfer1::Dims> const& inputs) const override;
    cudaError_t launch(Launch const& launch) const override;

private:
    Attributes mAttributes;
};

} // namespace maskline
