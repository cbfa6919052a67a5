#include "mask_rle/plugin.h"

#include "mask_rle/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::DataType;

MaskType typeOf(DataType type)
{
    switch (type)
    {
    case DataType::kHALF: return MaskType::kFLOAT16;
    case DataType::kBF16: return MaskType::kBFLOAT16;
    default: return MaskType::kFLOAT32;
    }
}

} // namespace

std::size_t MaskRLEOp::workspaceBytes(Attributes const&, std::vector<Shape> const&)
{
    return 0;
}

cudaError_t MaskRLEOp::launch(Attributes const& attributes, Launch const& launch)
{
    MaskRLEBuffers const buffers{launch.input<void>(0), launch.input<float>(1), launch.input<std::int32_t>(2),
        launch.input<float>(3), launch.output<std::int32_t>(0), launch.output<std::int32_t>(1),
        launch.output<float>(2)};
    return launchMaskRLE(attributes, shapeOf(attributes, launch.shapes), typeOf(launch.type), buffers, launch.stream);
}

} // namespace maskline
