#include "mask_rle/plugin.h"

#include "mask_rle/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::Dims;

MaskRLEShape shapeOf(std::vector<Dims> const& inputs)
{
    Dims const& masks = inputs[0];
    return {static_cast<std::int32_t>(masks.d[0]), static_cast<std::int32_t>(masks.d[1]),
        static_cast<std::int32_t>(masks.d[2])};
}

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

Signature MaskRLEOp::signature(Attributes const& attributes)
{
    return {kNAME,
        {{"masks", TensorKind::kREAL, {'B', 'D', 'M', 'M'}}, {"boxes", TensorKind::kFLOAT32, {'B', 'D', 4}},
            {"num_detections", TensorKind::kINT32, {'B', 1}}, {"image_info", TensorKind::kFLOAT32, {'B', 6}}},
        {{"counts", TensorKind::kINT32, {'B', 'D', attributes.maxCounts}},
            {"num_counts", TensorKind::kINT32, {'B', 'D'}}, {"image_boxes", TensorKind::kFLOAT32, {'B', 'D', 4}}}};
}

std::string MaskRLEOp::checkSizes(Attributes const&, std::vector<Dims> const& inputs)
{
    return shapeOf(inputs).check();
}

std::size_t MaskRLEOp::workspaceBytes(Attributes const&, std::vector<Dims> const&)
{
    return 0;
}

cudaError_t MaskRLEOp::launch(Attributes const& attributes, Launch const& launch)
{
    MaskRLEBuffers const buffers{launch.input<void>(0), launch.input<float>(1), launch.input<std::int32_t>(2),
        launch.input<float>(3), launch.output<std::int32_t>(0), launch.output<std::int32_t>(1),
        launch.output<float>(2)};
    return launchMaskRLE(attributes, shapeOf(launch.shapes), typeOf(launch.type), buffers, launch.stream);
}

} // namespace maskline
