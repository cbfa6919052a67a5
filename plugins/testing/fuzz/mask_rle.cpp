// MaskRLE through the C interface: masks and boxes of any value, sizes that lie.

#include "common/status.h"
#include "mask_rle/c_config.h"
#include "testing/fuzz/choices.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

extern "C" int maskline_host_encode_masks(float const* masks, float const* boxes, std::int32_t const* sizes,
    std::int64_t number, std::int32_t side, std::int32_t paste, std::int32_t threads, char* text, std::int64_t capacity,
    std::int64_t* offsets);
extern "C" int maskline_host_mask_rle(MasklineMaskRLE const* config, float const* masks, float const* boxes,
    std::int32_t const* numDetections, float const* imageInfo, std::int32_t* counts, std::int32_t* numCounts,
    float* imageBoxes, int threads);

namespace
{
using namespace maskline::fuzz;

// The text of each mask: its groups are characters of COCO's alphabet, and no text is written beyond its room.
void encode(FuzzedDataProvider& choices)
{
    std::int32_t const side = number(choices, 1, 28);
    std::int32_t const count = choices.ConsumeIntegralInRange(0, 3);
    auto const room = static_cast<std::size_t>(std::clamp(side, 0, 64));
    auto const rows = static_cast<std::size_t>(count);
    auto const masks = values(choices, rows * room * room);
    auto const boxes = values(choices, rows * 4);
    auto const sizes = std::make_unique<std::int32_t[]>(rows * 2);
    for (std::size_t i = 0; i < rows * 2; ++i)
    {
        sizes[i] = number(choices, 1, 500);
        // The work grows with the width of the image, and that of a caller is bounded: preprocess's side limit.
        if (i % 2 == 1 && sizes[i] > 20000)
        {
            sizes[i] = 20000;
        }
    }
    auto const offsets = std::make_unique<std::int64_t[]>(rows + 1);
    std::int64_t const capacity = choices.ConsumeIntegralInRange<std::int64_t>(0, 4096);
    auto const text = std::make_unique<char[]>(static_cast<std::size_t>(capacity));
    int const status = maskline_host_encode_masks(masks.get(), boxes.get(), sizes.get(), count, side,
        number(choices, 0, 1), 1, text.get(), capacity, offsets.get());
    if (status == maskline::kSUCCESS && offsets[rows] <= capacity)
    {
        for (std::int64_t i = 0; i < offsets[rows]; ++i)
        {
            require(text[i] >= '0' && text[i] <= 'o', "a character outside COCO's alphabet");
        }
    }
    require(status != maskline::kINTERNAL_ERROR, maskline::lastError());
}

// The counts of each mask: as many pixels as its image has.
void counts(FuzzedDataProvider& choices)
{
    auto config = maskline::makeConfig<MasklineMaskRLE>();
    config.batch = number(choices, 0, 2);
    config.detections = number(choices, 0, 3);
    config.side = number(choices, 1, 28);
    config.maxCounts = number(choices, 1, 600);
    config.paste = number(choices, 0, 1);
    config.maskType = number(choices, 0, 0);
    if (!isSmall({config.batch, config.detections, config.side, config.side})
        || !isSmall({config.batch, config.detections, config.maxCounts}))
    {
        config.batch = std::min(config.batch, 0); // the rules are the same without arrays
    }
    auto const size = [](std::int32_t length) { return static_cast<std::size_t>(std::max(length, 0)); };
    std::size_t const images = size(config.batch);
    std::size_t const rows = images * (images == 0 ? 0 : size(config.detections));
    std::size_t const cells = rows == 0 ? 0 : size(config.side) * size(config.side);
    std::size_t const room = rows == 0 ? 0 : size(config.maxCounts);
    auto const masks = values(choices, rows * cells);
    auto const boxes = values(choices, rows * 4);
    auto const info = values(choices, images * 6);
    for (std::size_t i = 0; i < images; ++i)
    {
        info[6 * i + 5] = info[6 * i + 5] > 20000.F ? 20000.F : info[6 * i + 5]; // as above
    }
    auto const found = std::make_unique<std::int32_t[]>(images);
    std::for_each(found.get(), found.get() + images, [&](std::int32_t& each) { each = number(choices, 0, 3); });
    auto const runs = std::make_unique<std::int32_t[]>(rows * room);
    auto const number_of_runs = std::make_unique<std::int32_t[]>(rows);
    auto const image_boxes = std::make_unique<float[]>(rows * 4);
    int const status = maskline_host_mask_rle(&config, masks.get(), boxes.get(), found.get(), info.get(), runs.get(),
        number_of_runs.get(), image_boxes.get(), 1);
    require(status != maskline::kINTERNAL_ERROR, maskline::lastError());
    for (std::size_t row = 0; status == maskline::kSUCCESS && row < rows; ++row)
    {
        require(number_of_runs[row] <= config.maxCounts, "more counts than there is room for");
        for (std::int32_t i = 0; i < number_of_runs[row]; ++i)
        {
            require(runs[row * room + static_cast<std::size_t>(i)] >= 0, "a negative count");
        }
    }
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    FuzzedDataProvider choices(data, size);
    choices.ConsumeBool() ? encode(choices) : counts(choices);
    return 0;
}
