#include "roi_align/on_device.h"

#include "roi_align/device/kernel.h"

#include <cstddef>
#include <vector>

namespace maskline
{

std::size_t RoIAlignOnDevice::workspaceBytes(Attributes const&, std::vector<Shape> const&)
{
    return 0;
}

cudaError_t RoIAlignOnDevice::launch(Attributes const& given, DeviceCall const& call)
{
    return launchMultiscaleRoIAlign(given.attributes(), shapeOf(given, call), call.inputs + 1, call.input<float>(0),
        call.output<void>(0), call.stream);
}

} // namespace maskline
