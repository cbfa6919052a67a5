// The paste rule as run ends, for host, CUDA and emulator.
//
// Down a column of pixels the interpolated mask is a straight line between two rows of mask cells, so each of these
// M + 1 stretches crosses the threshold once at most, and the crossings are the ends of the runs. Everything is done in
// doubles, product and sum rounded one after the other, so that every device gives the same runs.
//
// Letters: M mask side. The grid of cells wears a border of zeros: padded rows and columns 0..M+1. Pixel i covers
// [i, i+1) and has its centre at i + 0.5.
// Ref: docs/architecture.md, "Masks at the original size".
#pragma once

#include "common/host_device.h"

#include <cmath>
#include <cstdint>

namespace maskline
{
namespace mask_rle
{

//! The largest mask side: a bit for each of its M + 1 stretches in one 64-bit word.
constexpr int kMAX_SIDE = 63;
//! The rule says ">= 0.5": the little less, 2^-28, keeps a value that is 0.5 but for rounding (errors near 1e-13) on
//! the inner side. The largest float32 below 0.5 is 2^-25 less, so cells are below the threshold exactly where they are
//! below 0.5; between cells that are all inside, or all outside, no value is on the other side of it.
constexpr double kTHRESH = 0.5 - 0x1p-28;
//! The same for a pixel centre that lies on the edge of a box.
constexpr double kEDGE_PX = 1e-7;

//! The probability 0..1 that an element of a mask stands for, whatever it is; 0 for NaN.
MASKLINE_HD float probabilityOf(float value)
{
    float const positive = value > 0.0F ? value : 0.0F;
    return positive < 1.0F ? positive : 1.0F;
}

//! The product, rounded: never part of a fused multiply-add.
MASKLINE_HD double product(double a, double b)
{
#if defined(__CUDA_ARCH__)
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

//! The sum, rounded: never part of a fused multiply-add.
MASKLINE_HD double sum(double a, double b)
{
#if defined(__CUDA_ARCH__)
    return __dadd_rn(a, b);
#else
    return a + b;
#endif
}

//! A coordinate of the canvas as one of the original image, clipped to 0..limit; NaN stays NaN.
MASKLINE_HD float imageCoordinate(float canvas, float scale, float limit)
{
    float const value = canvas / scale;
    float const positive = value < 0.0F ? 0.0F : value;
    return positive > limit ? limit : positive;
}

//! The size of an original image.
struct ImageSize
{
    std::int32_t height;
    std::int32_t width;
};

//! As `image_info` says it; 0 x 0 unless it has 1 to 2147483647 pixels, which is what a count can hold.
MASKLINE_HD ImageSize makeImageSize(double height, double width)
{
    if (!(height >= 1.0 && width >= 1.0 && height * width <= INT32_MAX))
    {
        return ImageSize{0, 0};
    }
    return ImageSize{static_cast<std::int32_t>(height), static_cast<std::int32_t>(width)};
}

//! Some neighbouring pixels of one axis.
struct Span
{
    std::int32_t first;
    std::int32_t count;
};

//! Pixels of 0..limit-1 whose centre lies in [low, high]; none when the interval has no finite length.
MASKLINE_HD Span centresWithin(double low, double high, std::int32_t limit)
{
    double const length = high - low;
    if (!(length > 0.0) || length > 1e300)
    {
        return Span{0, 0};
    }
    double const first = greatest(std::ceil(low - 0.5 - kEDGE_PX), 0.0);
    double const last = least(std::floor(high - 0.5 + kEDGE_PX), limit - 1.0);
    if (last < first)
    {
        return Span{0, 0};
    }
    return Span{static_cast<std::int32_t>(first), static_cast<std::int32_t>(last - first) + 1};
}

//! The columns of pixels of a box.
struct Columns
{
    Span pixels;
    double low;    //!< the box' left edge, px
    double length; //!< its width, px
    std::int32_t side;
};

MASKLINE_HD Columns makeColumns(float low, float high, std::int32_t side, std::int32_t limit)
{
    return Columns{centresWithin(low, high, limit), low, static_cast<double>(high) - low, side};
}

//! The rows of pixels of a box.
struct Rows
{
    Span pixels;
    double low;  //!< the box' upper edge, px
    double step; //!< cells from one row of pixels to the next
    double cell; //!< height of a cell, px
    std::int32_t side;
};

MASKLINE_HD Rows makeRows(float low, float high, std::int32_t side, std::int32_t limit)
{
    double const length = static_cast<double>(high) - low;
    return Rows{centresWithin(low, high, limit), low, side / length, length / side, side};
}

//! Where row `i` of the box (0..count-1) lies in padded cells; never decreases with `i`.
MASKLINE_HD double rowPosition(Rows const& rows, std::int32_t i)
{
    return sum(product(rows.pixels.first + i + 0.5 - rows.low, rows.step), 0.5);
}

//! The first row of the box at or below padded cell `k`; `count` if there is none.
MASKLINE_HD std::int32_t firstRowFrom(Rows const& rows, std::int32_t k)
{
    auto const count = rows.pixels.count;
    if (k <= 0 || k > rows.side) // rounding may put a centre on the box' edge outside it
    {
        return k <= 0 ? 0 : count;
    }
    double const guess = (k - 0.5) * rows.cell + rows.low + 0.5 - rows.pixels.first;
    auto row = static_cast<std::int32_t>(least(greatest(guess, 0.0), static_cast<double>(count)));
    while (row > 0 && rowPosition(rows, row - 1) >= k)
    {
        --row;
    }
    while (row < count && rowPosition(rows, row) < k)
    {
        ++row;
    }
    return row;
}

//! The rows whose centres lie between padded cell rows k and k + 1.
struct Stretch
{
    std::int32_t first; //!< row of the image
    std::int32_t count;
    double offset; //!< where the first row lies between the two, 0..1
};

//! Stretch k, 0..M.
//!
//! @param begin, end firstRowFrom k and k + 1.
MASKLINE_HD Stretch makeStretch(Rows const& rows, std::int32_t k, std::int32_t begin, std::int32_t end)
{
    auto const row = least(begin, rows.pixels.count - 1);
    return Stretch{rows.pixels.first + begin, end - begin, rowPosition(rows, row) - k};
}

//! A column of pixels between two columns of cells.
struct Column
{
    std::int32_t left; //!< padded cell column, 0..M
    double fraction;   //!< how far towards the next one, 0..1
};

//! Column `i` of the box (0..count-1).
MASKLINE_HD Column makeColumn(Columns const& columns, std::int32_t i)
{
    double const share = (columns.pixels.first + i + 0.5 - columns.low) / columns.length;
    double const position = sum(product(share, columns.side), 0.5);
    // Rounding may put a centre on the box' edge outside it.
    auto const left = static_cast<std::int32_t>(least(greatest(position, 0.0), static_cast<double>(columns.side)));
    return Column{left, position - left};
}

//! The value between two neighbouring cells of a row.
MASKLINE_HD double between(double const* cell, double fraction)
{
    return sum(product(cell[0], 1.0 - fraction), product(cell[1], fraction));
}

//! The row of the image from which on a column is inside (or outside) when it crosses the threshold in a stretch.
//!
//! @param above, below values at the two cell rows, one of them inside, the other not.
//! @param step of the rows.
MASKLINE_HD std::int32_t crossingRow(Stretch const& stretch, double above, double below, double step)
{
    double const crossing = ((kTHRESH - above) / (below - above) - stretch.offset) / step;
    bool const enters = below >= kTHRESH;
    // Entering: ceil(crossing), for a centre right on the crossing is inside. Leaving: floor(crossing) + 1. Clipped
    // before the rounding, so that it can be done on whole numbers.
    double const lowest = enters ? 0.0 : -1.0;
    double const clipped = least(greatest(crossing, lowest), stretch.count + lowest);
    auto const cut = static_cast<std::int32_t>(clipped); // towards zero
    auto const row = enters ? cut + (cut < clipped ? 1 : 0) : cut + (clipped < cut ? 0 : 1);
    return stretch.first + row;
}

//! Which stretches may cross the threshold between two columns of cells, a bit each.
//!
//! @param left, right of each column, bit i: is the cell in row i of the mask inside?
MASKLINE_HD std::uint64_t mixedStretches(std::uint64_t left, std::uint64_t right)
{
    std::uint64_t const both = left & right;
    std::uint64_t const any = left | right;
    return (any | any << 1) & ~(both & both << 1);
}

//! The lowest bit's number; `bits` is not 0.
MASKLINE_HD std::int32_t lowestBit(std::uint64_t bits)
{
#if defined(__CUDA_ARCH__)
    return __ffsll(static_cast<long long>(bits)) - 1;
#else
    return __builtin_ctzll(bits);
#endif
}

//! Calls `edge(row)` for every crossing of a column from top to bottom: in, out, in, out, ...
//!
//! @param cells padded cells [M+2, M+2], row-major with `stride` doubles a row, from the column's left cell on.
//! @param mixed the stretches to look at; the others must not cross.
template <typename Edge>
MASKLINE_HD void crossColumn(double const* cells, std::int32_t stride, double fraction, Stretch const* stretches,
    std::uint64_t mixed, double step, Edge& edge)
{
    for (; mixed != 0; mixed &= mixed - 1)
    {
        auto const k = lowestBit(mixed);
        double const above = between(cells + k * stride, fraction);
        double const below = between(cells + (k + 1) * stride, fraction);
        if ((above >= kTHRESH) != (below >= kTHRESH))
        {
            edge(crossingRow(stretches[k], above, below, step));
        }
    }
}

} // namespace mask_rle
} // namespace maskline
