#include "classwise_nms/plugin.h"

#include "classwise_nms/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

std::size_t ClasswiseNMSOp::workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return classwiseNMSWorkspaceBytes(attributes, shapeOf(attributes, inputs));
}

cudaError_t ClasswiseNMSOp::launch(Attributes const& attributes, Launch const& launch)
{
    ClasswiseNMSBuffers const buffers{launch.input<float>(0), launch.input<float>(1), launch.input<float>(2),
        launch.input<std::int32_t>(3), launch.input<float>(4), launch.output<float>(0), launch.output<float>(1),
        launch.output<std::int32_t>(2), launch.output<std::int32_t>(3)};
    return launchClasswiseNMS(attributes, shapeOf(attributes, launch.shapes), buffers, launch.workspace, launch.stream);
}

} // namespace maskline
