#include "roi_align/plugin.h"

#include "roi_align/device/kernel.h"

#include <cstddef>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::DataType;

FeatureType typeOf(DataType type)
{
    switch (type)
    {
    case DataType::kHALF: return FeatureType::kHALF;
    case DataType::kBF16: return FeatureType::kBFLOAT16;
    default: return FeatureType::kFLOAT;
    }
}

} // namespace

std::size_t RoIAlignOp::workspaceBytes(Attributes const&, std::vector<Shape> const&)
{
    return 0;
}

cudaError_t RoIAlignOp::launch(Attributes const& given, Launch const& launch)
{
    RoIAlignShape shape = shapeOf(given, launch.shapes);
    shape.type = typeOf(launch.type);
    shape.layout = launch.format == nvinfer1::TensorFormat::kHWC8 ? FeatureLayout::kHWC8 : FeatureLayout::kNCHW;
    return launchMultiscaleRoIAlign(
        given.attributes(), shape, launch.inputs + 1, launch.input<float>(0), launch.output<void>(0), launch.stream);
}

} // namespace maskline
