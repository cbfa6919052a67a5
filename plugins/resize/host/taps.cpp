#include "resize/host/taps.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace maskline
{
namespace resize_host
{
namespace
{

constexpr float kCV2_ONE = 2048.0F;

//! A weight as OpenCV rounds it: halves to even.
std::int16_t cv2Weight(float share)
{
    return static_cast<std::int16_t>(std::nearbyint(share * kCV2_ONE));
}

} // namespace

Taps<std::int16_t> cv2Taps(std::int32_t length, std::int32_t wanted, bool toTheEdge)
{
    Taps<std::int16_t> taps(wanted);
    double const scale = 1.0 / (static_cast<double>(wanted) / length);
    for (std::int32_t i = 0; i < wanted; ++i)
    {
        auto const place = static_cast<float>((i + 0.5) * scale - 0.5);
        float const below = std::floor(place);
        auto const first = static_cast<std::int32_t>(below);
        float const share = toTheEdge && (first < 0 || first >= length - 1) ? 0.0F : place - below;
        auto const at = static_cast<std::size_t>(i);
        taps.first[at] = std::clamp(first, 0, length - 1);
        taps.second[at] = std::clamp(first + 1, 0, length - 1);
        taps.near[at] = cv2Weight(1.0F - share);
        taps.far[at] = cv2Weight(share);
    }
    return taps;
}

Taps<float> torchTaps(std::int32_t length, std::int32_t wanted)
{
    Taps<float> taps(wanted);
    double const scale = static_cast<float>(length) / static_cast<float>(wanted);
    for (std::int32_t i = 0; i < wanted; ++i)
    {
        // A double holds the product exactly: one rounding, as where PyTorch multiplies and adds in one instruction.
        float const place = std::max(static_cast<float>(scale * (i + 0.5) - 0.5), 0.0F);
        std::int32_t const first = std::min(static_cast<std::int32_t>(place), length - 1);
        auto const at = static_cast<std::size_t>(i);
        taps.first[at] = first;
        taps.second[at] = std::min(first + 1, length - 1);
        taps.far[at] = place - static_cast<float>(first);
        taps.near[at] = 1.0F - taps.far[at];
    }
    return taps;
}

} // namespace resize_host
} // namespace maskline
