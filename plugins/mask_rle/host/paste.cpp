#include "common/host/simd.h"
#include "mask_rle/host/pasted_mask.h"

#include <algorithm>
#include <cstdint>

namespace maskline
{
namespace mask_rle
{

void putCellsGeneric(float const* mask, std::int32_t side, PastedMask& pasted) noexcept
{
    std::uint64_t inside[PastedMask::kCELLS] = {}; // of each padded column, bit i: row i of the mask
    auto const stride = side + 2;
    std::fill_n(pasted.cells, stride, 0.0);
    std::fill_n(pasted.cells + (side + 1) * stride, stride, 0.0);
    for (std::int32_t row = 0; row < side; ++row)
    {
        auto const* from = mask + row * side;
        double* to = pasted.cells + (row + 1) * stride;
        to[0] = to[side + 1] = 0.0;
        for (std::int32_t column = 0; column < side; ++column)
        {
            double const cell = probabilityOf(from[column]);
            to[column + 1] = cell;
            inside[column + 1] |= static_cast<std::uint64_t>(cell >= pasted.thresh) << row;
        }
    }
    for (std::int32_t left = 0; left <= side; ++left)
    {
        pasted.mixed[left] = mixedStretches(inside[left], inside[left + 1]);
    }
    std::fill_n(pasted.mixed + side + 1, PastedMask::kMIXED_BEYOND, 0);
}

void paste(
    float const* mask, std::int32_t side, float const* box, ImageSize size, PasteRule rule, PastedMask& pasted) noexcept
{
    Rows const rows = makeRows(makeAxis(rule, box[1], box[3], side, size.height));
    pasted.size = size;
    pasted.thresh = threshOf(rule);
    pasted.columns = makeAxis(rule, box[0], box[2], side, size.width);
    if (rows.pixels.count == 0)
    {
        pasted.columns.pixels.count = 0;
    }
    if (pasted.columns.pixels.count == 0)
    {
        return;
    }
    pasted.step = rows.step;
    std::int32_t begin = 0;
    for (std::int32_t k = 0; k <= side; ++k)
    {
        auto const end = firstRowFrom(rows, k + 1);
        pasted.stretches[k] = makeStretch(rows, k, begin, end);
        begin = end;
    }
    putCells()(mask, side, pasted);
}

std::int32_t stripEdgesGeneric(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept
{
    auto const& columns = pasted.columns;
    auto* out = edges;
    for (std::int32_t i = begin; i < begin + count; ++i)
    {
        Column const column = makeColumn(columns, i);
        auto const top = (columns.pixels.first + i) * pasted.size.height;
        auto const put = [&](std::int32_t row) { *out++ = top + row; };
        crossColumn(pasted.cells + column.left, columns.side + 2, column.fraction, pasted.stretches,
            pasted.mixed[column.left], pasted.step, pasted.thresh, put);
    }
    return static_cast<std::int32_t>(out - edges);
}

PutCells putCells() noexcept
{
    return MASKLINE_FASTEST(putCells);
}

StripEdges stripEdges() noexcept
{
    return MASKLINE_FASTEST(stripEdges);
}

} // namespace mask_rle
} // namespace maskline
