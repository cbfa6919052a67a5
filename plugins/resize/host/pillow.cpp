#include "resize/host/pillow.h"

#include "common/host/parallel.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace maskline
{
namespace resize_host
{
namespace
{

constexpr std::int64_t kCHANNELS = 3;
constexpr std::int64_t kGRAIN_ROWS = 16;
constexpr int kPRECISION = 22; //!< bits of a weight: 32 less the 8 of a value and 2 to spare
constexpr std::int32_t kHALF = 1 << (kPRECISION - 1);

//! The pixels of the picture that one of the result is made of.
struct Tap
{
    std::int32_t first{0};
    std::vector<std::int32_t> weights; //!< of 2^-22
};

//! The pixels nearer than one pixel, of the picture or of the result, whichever is larger, weighed by how near they
//! are.
Tap tapOf(std::int32_t index, double scale, std::int32_t length)
{
    double const reach = std::max(scale, 1.0);
    double const centre = (index + 0.5) * scale;
    Tap tap;
    tap.first = std::max(static_cast<std::int32_t>(centre - reach + 0.5), 0);
    auto const end = std::min(static_cast<std::int32_t>(centre + reach + 0.5), length);
    std::vector<double> shares;
    double sum = 0.0;
    for (std::int32_t at = tap.first; at < end; ++at)
    {
        shares.push_back(std::max(0.0, 1.0 - std::abs((at - centre + 0.5) * (1.0 / reach))));
        sum += shares.back();
    }
    for (double const share : shares)
    {
        tap.weights.push_back(static_cast<std::int32_t>(0.5 + share / sum * (1 << kPRECISION)));
    }
    return tap;
}

std::vector<Tap> tapsOf(std::int32_t length, std::int32_t wanted)
{
    std::vector<Tap> taps;
    for (std::int32_t index = 0; index < wanted; ++index)
    {
        taps.push_back(tapOf(index, static_cast<double>(length) / wanted, length));
    }
    return taps;
}

//! No byte overflows: weights rise and fall evenly, so that their roundings, thousands of them too, cancel to far less
//! than the 2^13 that would carry 255.5 over.
std::uint8_t toByte(std::int32_t sum)
{
    return static_cast<std::uint8_t>(sum >> kPRECISION);
}

//! One line of the picture at the width of the result.
void across(std::uint8_t const* line, std::vector<Tap> const& taps, std::uint8_t* out)
{
    for (Tap const& tap : taps)
    {
        std::uint8_t const* pixel = line + tap.first * kCHANNELS;
        std::int32_t sums[kCHANNELS]{kHALF, kHALF, kHALF};
        for (std::int32_t const weight : tap.weights)
        {
            sums[0] += pixel[0] * weight;
            sums[1] += pixel[1] * weight;
            sums[2] += pixel[2] * weight;
            pixel += kCHANNELS;
        }
        out[0] = toByte(sums[0]);
        out[1] = toByte(sums[1]);
        out[2] = toByte(sums[2]);
        out += kCHANNELS;
    }
}

//! One line of the result from two, as all are but the edges where a picture is enlarged.
void downOfTwo(
    std::uint8_t const* upper, std::uint8_t const* lower, Tap const& tap, std::int64_t values, std::uint8_t* out)
{
    std::int32_t const near = tap.weights[0];
    std::int32_t const far = tap.weights[1];
    for (std::int64_t i = 0; i < values; ++i)
    {
        out[i] = toByte(upper[i] * near + lower[i] * far + kHALF);
    }
}

//! One line of the result from any number of lines, of `values` values each; `sums` holds as many.
void down(std::uint8_t const* line, Tap const& tap, std::vector<std::int32_t>& sums, std::uint8_t* out)
{
    std::size_t const values = sums.size();
    for (std::int32_t& sum : sums)
    {
        sum = kHALF;
    }
    for (std::int32_t const weight : tap.weights)
    {
        for (std::size_t i = 0; i < values; ++i)
        {
            sums[i] += line[i] * weight;
        }
        line += values;
    }
    for (std::size_t i = 0; i < values; ++i)
    {
        out[i] = toByte(sums[i]);
    }
}

} // namespace

void resizeAsPillow(ResizeShape const& shape, std::uint8_t const* image, int threads, std::uint8_t* resized)
{
    auto const columns = tapsOf(shape.width, shape.resizedWidth);
    auto const rows = tapsOf(shape.height, shape.resizedHeight);
    std::int64_t const values = shape.resizedWidth * kCHANNELS;
    std::vector<std::uint8_t> lines(static_cast<std::size_t>(shape.height * values));
    parallelFor(shape.height, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
        {
            across(image + row * shape.width * kCHANNELS, columns, lines.data() + row * values);
        }
    });
    parallelFor(shape.resizedHeight, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::int32_t> sums(static_cast<std::size_t>(values));
        for (std::int64_t row = begin; row < end; ++row)
        {
            Tap const& tap = rows[static_cast<std::size_t>(row)];
            std::uint8_t const* line = lines.data() + tap.first * values;
            std::uint8_t* out = resized + row * values;
            if (tap.weights.size() == 2)
            {
                downOfTwo(line, line + values, tap, values, out);
            }
            else
            {
                down(line, tap, sums, out);
            }
        }
    });
}

} // namespace resize_host
} // namespace maskline
