// MultiscaleRoIAlign through the C interface: boxes of any value, attributes and sizes that lie, every type and layout.

#include "common/status.h"
#include "roi_align/c_config.h"
#include "testing/fuzz/choices.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

extern "C" int maskline_host_multiscale_roi_align(MasklineMultiscaleRoIAlign const* config, void const* const* features,
    float const* boxes, void* output, int threads);

namespace
{
using namespace maskline::fuzz;

void choose(FuzzedDataProvider& choices, MasklineMultiscaleRoIAlign& config)
{
    auto& attributes = config.attributes;
    attributes.numLevels = number(choices, 1, 4);
    std::int32_t const first = choices.ConsumeIntegralInRange(0, 3);
    for (std::int32_t level = 0; level < maskline::kROI_ALIGN_MAX_LEVELS; ++level)
    {
        bool const lies = choices.ConsumeIntegralInRange(0, 63) == 1;
        attributes.strides[level] = lies ? number(choices, 1, 64) : 1 << (first + level);
        config.shape.heights[level] = number(choices, 1, 20);
        config.shape.widths[level] = number(choices, 1, 20);
    }
    attributes.canonicalSize = choices.ConsumeIntegralInRange(0, 7) == 1 ? value(choices) : 224.F;
    attributes.canonicalLevel = number(choices, 0, 6);
    attributes.pooledSide = number(choices, 1, 7);
    attributes.samplingRatio = number(choices, 0, 3);
    attributes.aligned = number(choices, 0, 1);
    attributes.mode = static_cast<maskline::RoIAlignMode>(number(choices, 0, 3));
    config.shape.type = static_cast<maskline::FeatureType>(number(choices, 0, 2));
    config.shape.layout = static_cast<maskline::FeatureLayout>(number(choices, 0, 1));
    config.shape.images = number(choices, 0, 2);
    config.shape.boxes = number(choices, 0, 4);
    config.shape.channels = number(choices, 1, 20);
}

// Whether all arrays of the call can be made.
bool isSmallCall(MasklineMultiscaleRoIAlign const& config)
{
    auto const& shape = config.shape;
    std::int64_t const stored = std::int64_t{shape.channels} + 8; // at least what lies in memory
    bool small = shape.channels >= 0
        && isSmall({shape.images, shape.boxes, stored, config.attributes.pooledSide, config.attributes.pooledSide});
    for (std::int32_t level = 0; level < maskline::kROI_ALIGN_MAX_LEVELS; ++level)
    {
        small = small && isSmall({shape.images, stored, shape.heights[level], shape.widths[level]});
    }
    return small;
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    FuzzedDataProvider choices(data, size);
    auto config = maskline::makeConfig<MasklineMultiscaleRoIAlign>();
    choose(choices, config);
    if (!isSmallCall(config))
    {
        // No arrays of such a size; its rules are asked all the same.
        maskline::RoIAlignAttributes attributes;
        maskline::RoIAlignShape shape;
        (void)maskline::read(config, attributes, shape);
        return 0;
    }
    auto const& shape = config.shape;
    // Elements of four bytes are room for each type: the count is exact where the type is float.
    std::size_t const each = shape.type == maskline::FeatureType::kFLOAT ? 4 : 2;
    auto const stored = static_cast<std::size_t>(storedChannels(shape));
    auto const images = static_cast<std::size_t>(shape.images);
    std::vector<std::vector<std::uint8_t>> maps;
    std::vector<void const*> features;
    auto const cells = values(choices, 64);
    for (std::int32_t level = 0; level < maskline::kROI_ALIGN_MAX_LEVELS; ++level)
    {
        std::size_t const bytes = images * stored * static_cast<std::size_t>(shape.heights[level])
            * static_cast<std::size_t>(shape.widths[level]) * each;
        std::vector<std::uint8_t> map(bytes);
        for (std::size_t at = 0; at < bytes; ++at)
        {
            map[at] = reinterpret_cast<std::uint8_t const*>(cells.get())[at % (64 * sizeof(float))];
        }
        maps.push_back(std::move(map));
        features.push_back(maps.back().data());
    }
    auto const boxes = values(choices, images * static_cast<std::size_t>(shape.boxes) * 4);
    auto const pooled = static_cast<std::size_t>(config.attributes.pooledSide);
    std::vector<std::uint8_t> output(images * static_cast<std::size_t>(shape.boxes) * stored * pooled * pooled * each);
    int const status = maskline_host_multiscale_roi_align(&config, features.data(), boxes.get(), output.data(), 1);
    require(status != maskline::kINTERNAL_ERROR, maskline::lastError());
    return 0;
}
