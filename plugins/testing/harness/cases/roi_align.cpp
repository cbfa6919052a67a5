#include "roi_align/c_config.h"
#include "testing/harness/cases/op_case.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int maskline_host_multiscale_roi_align(MasklineMultiscaleRoIAlign const* config, void const* const* features,
    float const* boxes, void* output, int threads);

namespace harness
{
namespace
{

using maskline::FeatureLayout;
using maskline::FeatureType;

constexpr double kCANVAS_PX = 128.0;

//! Boxes [count, 4], px: of all sizes, some outside of the canvas, every fifth of zero width.
std::vector<double> makeBoxes(std::int64_t count, Random& random)
{
    std::vector<double> boxes;
    for (std::int64_t i = 0; i < count; ++i)
    {
        double const x = random.uniform(-20.0, kCANVAS_PX);
        double const y = random.uniform(-20.0, kCANVAS_PX);
        double const side = std::exp2(random.uniform(1.0, 8.0));
        double const width = i % 5 == 4 ? 0.0 : side * random.uniform(0.5, 2.0);
        for (double const value : {x, y, x + width, y + side})
        {
            boxes.push_back(static_cast<float>(value));
        }
    }
    return boxes;
}

FeatureType typeOf(nvinfer1::DataType type)
{
    switch (type)
    {
    case nvinfer1::DataType::kHALF: return FeatureType::kHALF;
    case nvinfer1::DataType::kBF16: return FeatureType::kBFLOAT16;
    default: return FeatureType::kFLOAT;
    }
}

int runOnHost(maskline::RoIAlignAttributes const& attributes, Sizes const& sizes, PluginTensorDesc const& variant,
    std::vector<Bytes> const& inputs, std::vector<Bytes>& outputs)
{
    auto config = maskline::makeConfig<MasklineMultiscaleRoIAlign>();
    config.attributes = attributes;
    maskline::RoIAlignShape& shape = config.shape;
    shape.type = typeOf(variant.type);
    shape.layout = variant.format == nvinfer1::TensorFormat::kHWC8 ? FeatureLayout::kHWC8 : FeatureLayout::kNCHW;
    shape.images = static_cast<std::int32_t>(sizes.at("B"));
    shape.boxes = static_cast<std::int32_t>(sizes.at("R"));
    shape.channels = static_cast<std::int32_t>(sizes.at("C"));
    std::vector<void const*> features;
    for (std::int32_t level = 0; level < attributes.numLevels; ++level)
    {
        shape.heights[level] = static_cast<std::int32_t>(sizes.at("H" + std::to_string(level)));
        shape.widths[level] = static_cast<std::int32_t>(sizes.at("W" + std::to_string(level)));
        features.push_back(inputs[static_cast<std::size_t>(level) + 1].data());
    }
    auto const* const boxes = reinterpret_cast<float const*>(inputs[0].data());
    return maskline_host_multiscale_roi_align(&config, features.data(), boxes, outputs[0].data(), /* threads = */ 1);
}

} // namespace

OpCase roiAlignCase(bool adaptive)
{
    std::vector<std::int32_t> const strides
        = adaptive ? std::vector<std::int32_t>{8, 16} : std::vector<std::int32_t>{4, 8, 16, 32};
    maskline::RoIAlignAttributes attributes{};
    attributes.numLevels = static_cast<std::int32_t>(strides.size());
    std::copy(strides.begin(), strides.end(), attributes.strides);
    attributes.canonicalSize = adaptive ? 112.F : 56.F;
    attributes.canonicalLevel = 4;
    attributes.pooledSide = adaptive ? 4 : 7;
    attributes.samplingRatio = adaptive ? 0 : 2;
    attributes.aligned = adaptive ? 0 : 1;
    attributes.mode = adaptive ? maskline::RoIAlignMode::kALIGN_MAX : maskline::RoIAlignMode::kALIGN_AVG;

    OpCase result;
    result.op = "MultiscaleRoIAlign";
    result.title = adaptive ? "adaptive maximum" : "fixed average";
    result.exact = false; // a sum of products may be rounded in another order
    result.fields.ints("strides", strides)
        .floats("canonical_size", {attributes.canonicalSize})
        .ints("canonical_level", {attributes.canonicalLevel})
        .ints("pooled_side", {attributes.pooledSide})
        .ints("sampling_ratio", {attributes.samplingRatio})
        .ints("aligned", {attributes.aligned})
        .text("mode", adaptive ? "align_max" : "align_avg");
    result.inputs.push_back({"boxes", Kind::kFLOAT, {"B", "R", "4"}});
    Sizes largest{{"B", 2}, {"R", 11}, {"C", 20}}; // 20: not a multiple of 8
    for (std::size_t level = 0; level < strides.size(); ++level)
    {
        std::string const h = "H" + std::to_string(level);
        std::string const w = "W" + std::to_string(level);
        result.inputs.push_back(
            {"features of stride " + std::to_string(strides[level]), Kind::kFEATURES, {"B", "C", h, w}});
        largest[h] = static_cast<std::int64_t>(kCANVAS_PX) / strides[level];
        largest[w] = largest[h] + 1;
    }
    std::string const side = std::to_string(attributes.pooledSide);
    result.outputs.push_back({"pooled", Kind::kFEATURES, {"B*R", "C", side, side}});
    result.sizes.assign(4, largest);
    result.sizes[1]["B"] = 1;
    result.sizes[1]["R"] = 1;
    result.sizes[1]["C"] = 8;
    result.sizes[2]["R"] = 0;
    result.sizes[3]["B"] = 0;
    std::size_t const levels = strides.size();
    result.values = [levels](Sizes const& sizes, std::uint32_t seed) {
        Random random(seed);
        std::vector<std::vector<double>> values{makeBoxes(sizes.at("B") * sizes.at("R"), random)};
        for (std::size_t level = 0; level < levels; ++level)
        {
            std::string const number = std::to_string(level);
            values.push_back(random.uniform(
                sizes.at("B") * sizes.at("C") * sizes.at("H" + number) * sizes.at("W" + number), -2.0, 2.0));
        }
        return values;
    };
    result.expected
        = [attributes](Sizes const& sizes, PluginTensorDesc const& variant, std::vector<Bytes> const& inputs,
              std::vector<Bytes>& outputs) { return runOnHost(attributes, sizes, variant, inputs, outputs); };
    return result;
}

} // namespace harness
