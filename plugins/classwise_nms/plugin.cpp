#include "classwise_nms/plugin.h"

#include "classwise_nms/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::Dims;

ClasswiseNMSShape shapeOf(std::vector<Dims> const& inputs)
{
    Dims const& proposals = inputs[2];
    return {static_cast<std::int32_t>(proposals.d[0]), static_cast<std::int32_t>(proposals.d[1])};
}

} // namespace

Signature ClasswiseNMSOp::signature(Attributes const& attributes)
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

std::string ClasswiseNMSOp::checkSizes(Attributes const& attributes, std::vector<Dims> const& inputs)
{
    return shapeOf(inputs).check(attributes);
}

std::size_t ClasswiseNMSOp::workspaceBytes(Attributes const& attributes, std::vector<Dims> const& inputs)
{
    return classwiseNMSWorkspaceBytes(attributes, shapeOf(inputs));
}

cudaError_t ClasswiseNMSOp::launch(Attributes const& attributes, Launch const& launch)
{
    ClasswiseNMSBuffers const buffers{launch.input<float>(0), launch.input<float>(1), launch.input<float>(2),
        launch.input<std::int32_t>(3), launch.input<float>(4), launch.output<float>(0), launch.output<float>(1),
        launch.output<std::int32_t>(2), launch.output<std::int32_t>(3)};
    return launchClasswiseNMS(attributes, shapeOf(launch.shapes), buffers, launch.workspace, launch.stream);
}

} // namespace maskline
