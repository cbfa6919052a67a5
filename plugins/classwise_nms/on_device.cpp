#include "classwise_nms/on_device.h"

#include "classwise_nms/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

std::size_t ClasswiseNMSOnDevice::workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return classwiseNMSWorkspaceBytes(attributes, shapeOf(attributes, inputs));
}

cudaError_t ClasswiseNMSOnDevice::launch(Attributes const& attributes, DeviceCall const& call)
{
    ClasswiseNMSBuffers const buffers{call.input<float>(0), call.input<float>(1), call.input<float>(2),
        call.input<std::int32_t>(3), call.input<float>(4), call.output<float>(0), call.output<float>(1),
        call.output<std::int32_t>(2), call.output<std::int32_t>(3)};
    return launchClasswiseNMS(attributes, shapeOf(attributes, call.shapes), buffers, call.workspace, call.stream);
}

} // namespace maskline
