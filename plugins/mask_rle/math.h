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
//! Which pixels a mask in its box has; README.md, "Definition".
enum class PasteRule : std::int32_t
{
    kALIGNED = 0,
    kDETECTRON = 1,
};

//! Far more than sums and products of numbers up to 1 are rounded by (1e-13), and far less than float32's spacing at
//! 0.5 (2^-25 below, 2^-24 above): a value that is 0.5 but for rounding is on the rule's side of it, and cells are
//! exactly where the rule says. Between cells that are all inside, or all outside, no value is on the other side.
constexpr double kSLACK = 0x1p-28;

//! What a value is compared with (">="): the one rule says ">= 0.5", the other "> 0.5".
MASKLINE_HD double threshOf(PasteRule rule)
{
    return rule == PasteRule::kALIGNED ? 0.5 - kSLACK : 0.5 + kSLACK;
}

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

//! A coordinate of the canvas, of which the picture takes `resized`, as one of the original image, clipped to
//! 0..original; NaN stays NaN.
MASKLINE_HD float imageCoordinate(float canvas, float resized, float original)
{
    float const value = canvas * (original / resized);
    float const positive = value < 0.0F ? 0.0F : value;
    return positive > original ? original : positive;
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

//! One axis of a box: pixel i has its centre at (i + 0.5 - low) * cells / length + offset padded cells.
struct Axis
{
    Span pixels;   //!< all that may be inside
    double low;    //!< px
    double length; //!< px
    double cells;  //!< in that length
    double offset; //!< padded cells
    std::int32_t side;
};

//! By the rule kDETECTRON: padded cells in the box, which is made wider by one cell on either side and whole pixels.
//!
//! The box is computed in float32, operation by operation, as by torchvision. Beyond the centres of the outermost
//! cells' outer edges no value is above one half, so those pixels are left out. Ref: torchvision,
//! models/detection/roi_heads.py, expand_boxes and paste_mask_in_image.
MASKLINE_HD Axis makeWholePixelAxis(float low, float high, std::int32_t side, std::int32_t limit)
{
    if (!(low <= high))
    {
        return Axis{Span{0, 0}, 0.0, 1.0, 1.0, 0.0, side};
    }
    double const cells = side + 2;
    float const centre = (high + low) * 0.5F;
    float const half = (high - low) * 0.5F * static_cast<float>(cells / side);
    double const first = truncf(centre - half);
    double const length = truncf(centre + half) - first + 1.0;
    double const cell = length / cells;
    return Axis{centresWithin(first + cell, first + length - cell, limit), first, length, cells, -0.5, side};
}

MASKLINE_HD Axis makeAxis(PasteRule rule, float low, float high, std::int32_t side, std::int32_t limit)
{
    if (rule == PasteRule::kDETECTRON)
    {
        return makeWholePixelAxis(low, high, side, limit);
    }
    double const cells = side;
    return Axis{centresWithin(low, high, limit), low, static_cast<double>(high) - low, cells, 0.5, side};
}

//! The rows of pixels of a box.
struct Rows
{
    Span pixels;
    double low;    //!< px
    double step;   //!< cells from one row of pixels to the next
    double cell;   //!< height of a cell, px
    double offset; //!< padded cells
    std::int32_t side;
};

MASKLINE_HD Rows makeRows(Axis const& axis)
{
    return Rows{axis.pixels, axis.low, axis.cells / axis.length, axis.length / axis.cells, axis.offset, axis.side};
}

//! Where row `i` of the box (0..count-1) lies in padded cells; never decreases with `i`.
MASKLINE_HD double rowPosition(Rows const& rows, std::int32_t i)
{
    return sum(product(rows.pixels.first + i + 0.5 - rows.low, rows.step), rows.offset);
}

//! The first row of the box at or below padded cell `k`; `count` if there is none.
MASKLINE_HD std::int32_t firstRowFrom(Rows const& rows, std::int32_t k)
{
    auto const count = rows.pixels.count;
    if (k <= 0 || k > rows.side) // rounding may put a centre on the box' edge outside it
    {
        return k <= 0 ? 0 : count;
    }
    double const guess = (k - rows.offset) * rows.cell + rows.low + 0.5 - rows.pixels.first;
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
MASKLINE_HD Column makeColumn(Axis const& columns, std::int32_t i)
{
    double const share = (columns.pixels.first + i + 0.5 - columns.low) / columns.length;
    double const position = sum(product(share, columns.cells), columns.offset);
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
//! @param thresh of the rule.
MASKLINE_HD std::int32_t crossingRow(Stretch const& stretch, double above, double below, double step, double thresh)
{
    double const crossing = ((thresh - above) / (below - above) - stretch.offset) / step;
    bool const enters = below >= thresh;
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
    std::uint64_t mixed, double step, double thresh, Edge& edge)
{
    for (; mixed != 0; mixed &= mixed - 1)
    {
        auto const k = lowestBit(mixed);
        double const above = between(cells + k * stride, fraction);
        double const below = between(cells + (k + 1) * stride, fraction);
        if ((above >= thresh) != (below >= thresh))
        {
            edge(crossingRow(stretches[k], above, below, step, thresh));
        }
    }
}

} // namespace mask_rle
} // namespace maskline
