// Resize through the C interface: sizes that lie, every filter.

#include "common/status.h"
#include "resize/c_config.h"
#include "testing/fuzz/choices.h"

#include <cstddef>
#include <cstdint>
#include <memory>

extern "C" int maskline_host_resize(
    MasklineResize const* config, std::uint8_t const* image, std::uint8_t* resized, int threads);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    using namespace maskline::fuzz;
    FuzzedDataProvider choices(data, size);
    auto config = maskline::makeConfig<MasklineResize>();
    config.height = number(choices, 1, 70);
    config.width = number(choices, 1, 70);
    config.resizedHeight = number(choices, 1, 140);
    config.resizedWidth = number(choices, 1, 140);
    config.filter = number(choices, 0, 2);
    maskline::ResizeShape shape{};
    maskline::ResizeFilter filter{maskline::ResizeFilter::kCV2};
    bool const is_refused = !maskline::read(config, shape, filter).empty();
    if (is_refused || !isSmall({config.height, config.width, 3})
        || !isSmall({config.resizedHeight, config.resizedWidth, 3}))
    {
        return 0;
    }
    std::size_t const given = 3 * static_cast<std::size_t>(config.height) * static_cast<std::size_t>(config.width);
    std::size_t const made
        = 3 * static_cast<std::size_t>(config.resizedHeight) * static_cast<std::size_t>(config.resizedWidth);
    auto const image = std::make_unique<std::uint8_t[]>(given);
    auto const resized = std::make_unique<std::uint8_t[]>(made);
    std::uint8_t const first = choices.ConsumeIntegral<std::uint8_t>();
    bool const is_plain = choices.ConsumeBool();
    for (std::size_t i = 0; i < given; ++i)
    {
        image[i] = is_plain ? first : static_cast<std::uint8_t>(first + 37 * i);
    }
    int const status = maskline_host_resize(&config, image.get(), resized.get(), 1);
    require(status == maskline::kSUCCESS, maskline::lastError());
    for (std::size_t i = 0; is_plain && i < made; ++i)
    {
        require(resized[i] == first, "a picture of one colour has another one after resizing");
    }
    return 0;
}
