#include "mask_rle/plugin.h"

#include "mask_rle/device/kernel.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::Dims;

Signature signature(MaskRLEAttributes const& attributes)
{
    return {MaskRLEPlugin::kNAME,
        {{"masks", TensorKind::kREAL, {'B', 'D', 'M', 'M'}}, {"boxes", TensorKind::kFLOAT32, {'B', 'D', 4}},
            {"num_detections", TensorKind::kINT32, {'B', 1}}, {"image_info", TensorKind::kFLOAT32, {'B', 6}}},
        {{"counts", TensorKind::kINT32, {'B', 'D', attributes.maxCounts}},
            {"num_counts", TensorKind::kINT32, {'B', 'D'}}, {"image_boxes", TensorKind::kFLOAT32, {'B', 'D', 4}}}};
}

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

MaskRLEPlugin::MaskRLEPlugin(Attributes const& attributes)
    : PluginBase(signature(attributes))
    , mAttributes(attributes)
{
    visit(fields(), mAttributes);
}

std::unique_ptr<PluginBase> MaskRLEPlugin::copy() const
{
    return std::make_unique<MaskRLEPlugin>(mAttributes);
}

std::string MaskRLEPlugin::checkSizes(std::vector<Dims> const& inputs) const
{
    return shapeOf(inputs).check();
}

std::size_t MaskRLEPlugin::workspaceBytes(std::vector<Dims> const&) const
{
    return 0;
}

cudaError_t MaskRLEPlugin::launch(Launch const& launch) const
{
    MaskRLEBuffers const buffers{launch.input<void>(0), launch.input<float>(1), launch.input<std::int32_t>(2),
        launch.input<float>(3), launch.output<std::int32_t>(0), launch.output<std::int32_t>(1),
        launch.output<float>(2)};
    return launchMaskRLE(mAttributes, shapeOf(launch.shapes), typeOf(launch.type), buffers, launch.stream);
}

} // namespace maskline
