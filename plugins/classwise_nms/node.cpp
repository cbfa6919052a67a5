#include "classwise_nms/node.h"

#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

Signature ClasswiseNMSNode::signature(Attributes const& attributes)
{
    auto const classes = static_cast<std::int64_t>(attributes.numClasses);
    std::int64_t const detections = attributes.maxDetections;
    return {kNAME,
        {{"class_logits", TensorKind::kFLOAT32, {Dim::product('B', 'R'), classes + 1}},
            {"box_deltas", TensorKind::kFLOAT32, {Dim::product('B', 'R'), 4 * classes}},
            {"proposals", TensorKind::kFLOAT32, {'B', 'R', 4}}, {"num_proposals", TensorKind::kINT32, {'B'}},
            {"image_info", TensorKind::kFLOAT32, {'B', 6}}},
        {{"boxes", TensorKind::kFLOAT32, {'B', detections, 4}}, {"scores", TensorKind::kFLOAT32, {'B', detections}},
            {"labels", TensorKind::kINT32, {'B', detections}}, {"num_detections", TensorKind::kINT32, {'B', 1}}}};
}

std::string ClasswiseNMSNode::checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return shapeOf(attributes, inputs).check(attributes);
}

ClasswiseNMSShape ClasswiseNMSNode::shapeOf(Attributes const&, std::vector<Shape> const& inputs)
{
    Shape const& proposals = inputs[2];
    return {static_cast<std::int32_t>(proposals[0]), static_cast<std::int32_t>(proposals[1])};
}

} // namespace maskline
