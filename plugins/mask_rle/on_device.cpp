#include "mask_rle/on_device.h"

#include "mask_rle/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

MaskType typeOf(RealType type)
{
    switch (type)
    {
    case RealType::kFLOAT16: return MaskType::kFLOAT16;
    case RealType::kBFLOAT16: return MaskType::kBFLOAT16;
    default: return MaskType::kFLOAT32;
    }
}

} // namespace

std::size_t MaskRLEOnDevice::workspaceBytes(Attributes const&, std::vector<Shape> const&)
{
    return 0;
}

cudaError_t MaskRLEOnDevice::launch(Attributes const& attributes, DeviceCall const& call)
{
    MaskRLEBuffers const buffers{call.input<void>(0), call.input<float>(1), call.input<std::int32_t>(2),
        call.input<float>(3), call.output<std::int32_t>(0), call.output<std::int32_t>(1), call.output<float>(2)};
    return launchMaskRLE(
        attributes.attributes(), shapeOf(attributes, call.shapes), typeOf(call.type), buffers, call.stream);
}

} // namespace maskline
