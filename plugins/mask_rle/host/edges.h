// From the edges of runs to COCO's counts and text.
//
// Edges are column-major positions in the image: start, end, start, end, ... The run lengths are their differences.
#pragma once

#include "mask_rle/host/pasted_mask.h"

#include <cstdint>

namespace maskline
{
namespace mask_rle
{

//! Leaves out runs without a pixel and joins touching ones, in place.
//!
//! @param pending 1 if edges[0] is the end of a run whose start is gone already; otherwise 0.
//! @param count of edges in all.
//! @return how many are left, strictly increasing.
std::int32_t joinRuns(std::int32_t* edges, std::int32_t pending, std::int32_t count) noexcept;

//! Walks a mask strip by strip and hands over the edges between its counts, the end of the image among them: the
//! differences of neighbours are COCO's counts, zeros first.
//!
//! @param take `take(edges, count)`, called with some more edges. The three before edges[0] may be read as well; they
//!     are 0 before the first.
template <typename Take>
void walkEdges(PastedMask const& pasted, Take&& take)
{
    constexpr int kHISTORY = 3;
    StripEdges const solve = stripEdges();
    std::int32_t buffer[kHISTORY + 1 + kSTRIP_EDGES] = {};
    auto* const edges = buffer + kHISTORY;
    std::int32_t pending = 0;
    auto const numColumns = pasted.columns.pixels.count;
    for (std::int32_t begin = 0; begin < numColumns; begin += kSTRIP)
    {
        auto const found = solve(pasted, begin, least(kSTRIP, numColumns - begin), edges + pending);
        auto const count = joinRuns(edges, pending, pending + found);
        if (count > 1)
        {
            // The last end may touch the next strip's first run.
            take(edges, count - 1);
            for (int i = 0; i <= kHISTORY; ++i)
            {
                buffer[i] = buffer[count - 1 + i];
            }
        }
        pending = count > 0 ? 1 : 0;
    }
    auto const numPixels = pasted.size.height * pasted.size.width;
    bool const isLast = pending == 1 && edges[0] == numPixels;
    if (!isLast)
    {
        edges[pending] = numPixels;
    }
    take(edges, isLast ? 1 : pending + 1);
}

//! Characters of one count at most; as many are written, whatever its length.
constexpr int kMAX_CHARACTERS = 8;

//! One number in COCO's text form, 5 bits a character, the lowest first; the last one's fifth bit is the sign.
//!
//! Ref: https://github.com/cocodataset/cocoapi, common/maskApi.c, rleToString.
//! @return where the text goes on.
char* writeNumber(std::int64_t value, char* text) noexcept;

//! The text of the counts that end at some edges. Each is written as its difference to the count two before, so three
//! edges before the first are read as well.
//!
//! @param text room for kMAX_CHARACTERS a count.
//! @return where the text goes on.
using WriteText = char* (*)(std::int32_t const* edges, std::int32_t count, char* text) noexcept;

char* writeTextGeneric(std::int32_t const* edges, std::int32_t count, char* text) noexcept;
char* writeTextAvx512(std::int32_t const* edges, std::int32_t count, char* text) noexcept;

//! The one for this processor.
WriteText writeText() noexcept;

} // namespace mask_rle
} // namespace maskline
