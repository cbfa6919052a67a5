#include "roi_align/node.h"

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

//! The place of `mode` among the names; past the last one when it is none of them.
std::int32_t modeIndex(std::string const& mode)
{
    auto const* const found = std::find(std::begin(kROI_ALIGN_MODE_NAMES), std::end(kROI_ALIGN_MODE_NAMES), mode);
    return static_cast<std::int32_t>(found - std::begin(kROI_ALIGN_MODE_NAMES));
}

RoIAlignShape sizesOf(RoIAlignFields const& given, std::vector<Shape> const& inputs)
{
    RoIAlignShape shape{};
    shape.images = static_cast<std::int32_t>(inputs[0][0]);
    shape.boxes = static_cast<std::int32_t>(inputs[0][1]);
    shape.channels = static_cast<std::int32_t>(inputs[1][1]);
    for (std::size_t level = 0; level < given.strides.size(); ++level)
    {
        Shape const& features = inputs[level + 1];
        shape.heights[level] = static_cast<std::int32_t>(features[2]);
        shape.widths[level] = static_cast<std::int32_t>(features[3]);
    }
    return shape;
}

FeatureType typeOf(RealType type)
{
    switch (type)
    {
    case RealType::kFLOAT16: return FeatureType::kHALF;
    case RealType::kBFLOAT16: return FeatureType::kBFLOAT16;
    default: return FeatureType::kFLOAT;
    }
}

} // namespace

Signature RoIAlignNode::signature(Attributes const& given)
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

RoIAlignFields RoIAlignNode::example()
{
    RoIAlignFields fields;
    fields.strides = {4};
    return fields;
}

std::string RoIAlignNode::checkSizes(Attributes const& given, std::vector<Shape> const& inputs)
{
    return sizesOf(given, inputs).check(static_cast<std::int32_t>(given.strides.size()));
}

RoIAlignShape RoIAlignNode::shapeOf(Attributes const& given, Call const& call)
{
    RoIAlignShape shape = sizesOf(given, call.shapes);
    shape.type = typeOf(call.type);
    shape.layout = call.packed ? FeatureLayout::kHWC8 : FeatureLayout::kNCHW;
    return shape;
}

} // namespace maskline
