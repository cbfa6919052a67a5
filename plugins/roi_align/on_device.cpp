#include "roi_align/on_device.h"

#include "roi_align/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

std::size_t RoIAlignOnDevice::workspaceBytes(Attributes const&, std::vector<Shape> const&)
{
    return 0;
}

cudaError_t RoIAlignOnDevice::launch(Attributes const& given, DeviceCall const& call)
{
    RoIAlignShape const shape = shapeOf(given, call);
    // Sizes were checked before the layout was known, and packed channels have a limit of their own.
    if (call.packed && !shape.check(static_cast<std::int32_t>(given.strides.size())).empty())
    {
        return cudaErrorInvalidValue;
    }
    return launchMultiscaleRoIAlign(
        given.attributes(), shape, call.inputs + 1, call.input<float>(0), nullptr, call.output<void>(0), call.stream);
}

} // namespace maskline
