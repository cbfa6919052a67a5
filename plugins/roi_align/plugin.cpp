#include "roi_align/plugin.h"

#include "roi_align/device/kernel.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::Dims;

//! The place of `mode` among the names; past the last one when it is none of them.
std::int32_t modeIndex(std::string const& mode)
{
    auto const* const found = std::find(std::begin(kROI_ALIGN_MODE_NAMES), std::end(kROI_ALIGN_MODE_NAMES), mode);
    return static_cast<std::int32_t>(found - std::begin(kROI_ALIGN_MODE_NAMES));
}

FeatureType typeOf(DataType type)
{
    switch (type)
    {
    case DataType::kHALF: return FeatureType::kHALF;
    case DataType::kBF16: return FeatureType::kBFLOAT16;
    default: return FeatureType::kFLOAT;
    }
}

RoIAlignShape shapeOf(RoIAlignFields const& given, std::vector<Dims> const& inputs)
{
    RoIAlignShape shape{};
    shape.images = static_cast<std::int32_t>(inputs[0].d[0]);
    shape.boxes = static_cast<std::int32_t>(inputs[0].d[1]);
    shape.channels = static_cast<std::int32_t>(inputs[1].d[1]);
    for (std::size_t level = 0; level < given.strides.size(); ++level)
    {
        Dims const& features = inputs[level + 1];
        shape.heights[level] = static_cast<std::int32_t>(features.d[2]);
        shape.widths[level] = static_cast<std::int32_t>(features.d[3]);
    }
    return shape;
}

} // namespace

Signature RoIAlignOp::signature(Attributes const& given)
{
    std::vector<Tensor> inputs{{"boxes", TensorKind::kFLOAT32, {'B', 'R', 4}}};
    for (std::size_t level = 0; level < given.strides.size(); ++level)
    {
        auto const i = static_cast<std::int32_t>(level);
        inputs.push_back({"features of stride " + std::to_string(given.strides[level]), TensorKind::kFEATURES,
            {'B', 'C', Dim::ofLevel('H', i), Dim::ofLevel('W', i)}});
    }
    Dim const side = given.pooledSide;
    return {kNAME, inputs, {{"pooled", TensorKind::kFEATURES, {Dim::product('B', 'R'), 'C', side, side}}}};
}

std::string RoIAlignFields::check() const
{
    if (modeIndex(mode) >= kROI_ALIGN_MODES)
    {
        std::string known;
        for (auto const* const name : kROI_ALIGN_MODE_NAMES)
        {
            known += std::string(known.empty() ? "" : ", ") + name;
        }
        return "mode: got \"" + mode + "\", expected one of " + known;
    }
    return attributes().check();
}

RoIAlignAttributes RoIAlignFields::attributes() const
{
    RoIAlignAttributes result{};
    result.numLevels = static_cast<std::int32_t>(strides.size());
    std::copy_n(strides.begin(), std::min<std::size_t>(strides.size(), kROI_ALIGN_MAX_LEVELS), result.strides);
    result.canonicalSize = canonicalSize;
    result.canonicalLevel = canonicalLevel;
    result.pooledSide = pooledSide;
    result.samplingRatio = samplingRatio;
    result.aligned = aligned ? 1 : 0;
    result.mode = static_cast<RoIAlignMode>(modeIndex(mode));
    return result;
}

std::string RoIAlignOp::checkSizes(Attributes const& given, std::vector<Dims> const& inputs)
{
    return shapeOf(given, inputs).check(static_cast<std::int32_t>(given.strides.size()));
}

std::size_t RoIAlignOp::workspaceBytes(Attributes const&, std::vector<Dims> const&)
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
