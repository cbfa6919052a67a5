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

//! The pixels of the picture that each of n pixels of the result is made of, along one axis.
struct Shares
{
    std::vector<std::int32_t> first;   //!< [n]
    std::vector<std::int32_t> count;   //!< [n]
    std::vector<std::int32_t> begin;   //!< [n], of its weights
    std::vector<std::int32_t> weights; //!< of 2^-22, of one pixel after the other
};

//! Appends a pixel: all that are nearer to it than one pixel, of the picture or of the result, whichever is larger,
//! weighed by how near they are.
void append(std::int32_t index, double scale, std::int32_t length, std::vector<double>& scratch, Shares& shares)
{
    double const reach = std::max(scale, 1.0);
    double const centre = (index + 0.5) * scale;
    auto const first = std::max(static_cast<std::int32_t>(centre - reach + 0.5), 0);
    auto const end = std::min(static_cast<std::int32_t>(centre + reach + 0.5), length);
    double sum = 0.0;
    scratch.clear();
    for (std::int32_t at = first; at < end; ++at)
    {
        scratch.push_back(std::max(0.0, 1.0 - std::abs((at - centre + 0.5) * (1.0 / reach))));
        sum += scratch.back();
    }
    shares.first.push_back(first);
    shares.count.push_back(end - first);
    shares.begin.push_back(static_cast<std::int32_t>(shares.weights.size()));
    for (double const share : scratch)
    {
        shares.weights.push_back(static_cast<std::int32_t>(0.5 + share / sum * (1 << kPRECISION)));
    }
}

Shares sharesOf(std::int32_t length, std::int32_t wanted)
{
    Shares shares;
    std::vector<double> scratch;
    for (std::int32_t index = 0; index < wanted; ++index)
    {
        append(index, static_cast<double>(length) / wanted, length, scratch, shares);
    }
    return shares;
}

//! No byte overflows: weights rise and fall evenly, so that their roundings, thousands of them too, cancel to far less
//! than the 2^13 that would carry 255.5 over.
std::uint8_t toByte(std::int32_t sum)
{
    return static_cast<std::uint8_t>(sum >> kPRECISION);
}

//! One pixel of three channels, of any number of pixels.
void pixelOf(std::uint8_t const* from, std::int32_t const* weights, std::int32_t count, std::uint8_t* out)
{
    std::int32_t sums[kCHANNELS]{kHALF, kHALF, kHALF};
    for (std::int32_t i = 0; i < count; ++i, from += kCHANNELS)
    {
        sums[0] += from[0] * weights[i];
        sums[1] += from[1] * weights[i];
        sums[2] += from[2] * weights[i];
    }
    out[0] = toByte(sums[0]);
    out[1] = toByte(sums[1]);
    out[2] = toByte(sums[2]);
}

//! One line of the picture at the width of the result.
void across(std::uint8_t const* line, Shares const& columns, std::uint8_t* out)
{
    for (std::size_t x = 0; x < columns.first.size(); ++x, out += kCHANNELS)
    {
        std::uint8_t const* from = line + columns.first[x] * kCHANNELS;
        std::int32_t const* weights = columns.weights.data() + columns.begin[x];
        if (columns.count[x] == 2) // as all but the edges where a picture is enlarged
        {
            pixelOf(from, weights, 2, out);
        }
        else
        {
            pixelOf(from, weights, columns.count[x], out);
        }
    }
}

//! One line of the result from two lines, as all are but the edges where a picture is enlarged.
void downOfTwo(std::uint8_t const* upper, std::int32_t const* weights, std::int64_t values, std::uint8_t* out)
{
    std::uint8_t const* lower = upper + values;
    std::int32_t const near = weights[0];
    std::int32_t const far = weights[1];
    for (std::int64_t i = 0; i < values; ++i)
    {
        out[i] = toByte(upper[i] * near + lower[i] * far + kHALF);
    }
}

//! One line of the result from any number of lines, of `values` values each.
void down(
    std::uint8_t const* line, std::int32_t const* weights, std::int32_t count, std::int64_t values, std::uint8_t* out)
{
    std::vector<std::int32_t> sums(static_cast<std::size_t>(values), kHALF);
    for (std::int32_t i = 0; i < count; ++i, line += values)
    {
        for (std::int64_t at = 0; at < values; ++at)
        {
            sums[static_cast<std::size_t>(at)] += line[at] * weights[i];
        }
    }
    for (std::int64_t at = 0; at < values; ++at)
    {
        out[at] = toByte(sums[static_cast<std::size_t>(at)]);
    }
}

} // namespace

void resizeAsPillow(ResizeShape const& shape, std::uint8_t const* image, int threads, std::uint8_t* resized)
{
    Shares const columns = sharesOf(shape.width, shape.resizedWidth);
    Shares const rows = sharesOf(shape.height, shape.resizedHeight);
    std::int64_t const values = shape.resizedWidth * kCHANNELS;
    std::vector<std::uint8_t> lines(static_cast<std::size_t>(shape.height * values));
    parallelFor(shape.height, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
        {
            across(image + row * shape.width * kCHANNELS, columns, lines.data() + row * values);
        }
    });
    parallelFor(shape.resizedHeight, kGRAIN_ROWS, threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
        {
            auto const at = static_cast<std::size_t>(row);
            std::uint8_t const* line = lines.data() + rows.first[at] * values;
            std::int32_t const* weights = rows.weights.data() + rows.begin[at];
            std::uint8_t* out = resized + row * values;
            if (rows.count[at] == 2)
            {
                downOfTwo(line, weights, values, out);
            }
            else
            {
                down(line, weights, rows.count[at], values, out);
            }
        }
    });
}

} // namespace resize_host
} // namespace maskline
