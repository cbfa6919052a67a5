// Eight columns of pixels at a time, in four passes over a strip. A pass by itself has few branches that depend on the
// mask's shape, and no long chain of results: that is what the time goes into otherwise.
//
// Calls no function of math.h: compiled here for AVX-512, it could be the one that the linker keeps for everybody.
#include "mask_rle/host/edges.h"
#include "mask_rle/host/pasted_mask.h"

#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace maskline
{
namespace mask_rle
{
namespace
{

constexpr int kLANES = 8;
constexpr int kGROUPS = kSTRIP / kLANES;
//! Neighbouring cells that two vectors hold.
constexpr std::int32_t kWINDOW = 2 * kLANES;

//! The columns of a strip, as makeColumn of math.h makes them.
struct StripColumns
{
    alignas(64) std::int32_t left[kSTRIP];
    alignas(64) double fraction[kSTRIP];
};

//! Stretches in which columns of one group cross the threshold; the columns of a group are lanes.
struct Crossings
{
    //! Any number of stretches, and one that does not count yet.
    static constexpr int kCAPACITY = kGROUPS * PastedMask::kSTRETCHES + 1;

    int groupEnd[kGROUPS]; //!< where the next group's crossings begin
    std::int32_t stretch[kCAPACITY];
    std::uint32_t lanes[kCAPACITY];  //!< which lanes cross there
    std::uint32_t enters[kCAPACITY]; //!< which lanes are inside below
    alignas(64) double above[kCAPACITY][kLANES];
    alignas(64) double below[kCAPACITY][kLANES];
    alignas(64) std::int32_t rows[kCAPACITY + 3][kLANES]; //!< of the image; some are read beyond the last ones
};

void makeColumns(PastedMask const& pasted, std::int32_t begin, std::int32_t count, StripColumns& columns) noexcept
{
    auto const& box = pasted.columns;
    auto const side = _mm512_set1_pd(box.side);
    auto const cells = _mm512_set1_pd(box.cells);
    auto const offset = _mm512_set1_pd(box.offset);
    auto const half = _mm512_set1_pd(0.5);
    auto pixel
        = _mm256_add_epi32(_mm256_set1_epi32(box.pixels.first + begin), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (std::int32_t i = 0; i < count; i += kLANES)
    {
        auto const centre = _mm512_add_pd(_mm512_cvtepi32_pd(pixel), half);
        auto const share = _mm512_div_pd(_mm512_sub_pd(centre, _mm512_set1_pd(box.low)), _mm512_set1_pd(box.length));
        auto const position = _mm512_add_pd(_mm512_mul_pd(share, cells), offset);
        auto const left = _mm512_cvttpd_epi32(_mm512_min_pd(_mm512_max_pd(position, _mm512_setzero_pd()), side));
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns.left + i), left);
        _mm512_store_pd(columns.fraction + i, _mm512_sub_pd(position, _mm512_cvtepi32_pd(left)));
        pixel = _mm256_add_epi32(pixel, _mm256_set1_epi32(kLANES));
    }
}

//! The stretches that may cross the threshold between any of the columns of cells from `first` to `last + 1`.
std::uint64_t mixedBetween(PastedMask const& pasted, std::int32_t first, std::int32_t last) noexcept
{
    // Looking at some more columns than there are costs nothing but the looking.
    auto const* mixed = pasted.mixed + first;
    auto found = (mixed[0] | mixed[1]) | (mixed[2] | mixed[3]);
    static_assert(PastedMask::kMIXED_BEYOND == 3, "reads four");
    for (auto i = 4; i <= last - first; ++i)
    {
        found |= mixed[i];
    }
    return found;
}

//! Appends the crossings of a group of `count` columns, which lie within a window of cells.
//!
//! @return how many crossings there are now.
int findCrossings(PastedMask const& pasted, std::int32_t const* left, double const* fractions, int count, int number,
    Crossings& found) noexcept
{
    auto const stretches = mixedBetween(pasted, left[0], left[count - 1]);
    auto const stride = pasted.columns.side + 2;
    auto const* cells = pasted.cells + left[0] + stride;
    auto const valid = static_cast<__mmask8>((1U << count) - 1);
    auto const lefts = _mm256_load_si256(reinterpret_cast<__m256i const*>(left));
    auto const leftIndex = _mm512_cvtepi32_epi64(_mm256_sub_epi32(lefts, _mm256_set1_epi32(left[0])));
    auto const rightIndex = _mm512_add_epi64(leftIndex, _mm512_set1_epi64(1));
    auto const fraction = _mm512_load_pd(fractions);
    auto const rest = _mm512_sub_pd(_mm512_set1_pd(1.0), fraction);
    auto const threshold = _mm512_set1_pd(pasted.thresh);
    auto above = _mm512_setzero_pd();
    std::uint32_t aboveInside = 0;
    // The rows of cells at the ends of those stretches; the first row is border. Between rows that are not neighbours
    // no lane changes.
    for (auto ends = stretches | stretches >> 1; ends != 0; ends &= ends - 1)
    {
        auto const stretch = __builtin_ctzll(ends); // the one that ends there
        auto const low = _mm512_loadu_pd(cells + stretch * stride);
        auto const high = _mm512_loadu_pd(cells + stretch * stride + kLANES);
        auto const leftCells = _mm512_permutex2var_pd(low, leftIndex, high);
        auto const rightCells = _mm512_permutex2var_pd(low, rightIndex, high);
        auto const below = _mm512_add_pd(_mm512_mul_pd(leftCells, rest), _mm512_mul_pd(rightCells, fraction));
        auto const inside = static_cast<std::uint32_t>(_mm512_mask_cmp_pd_mask(valid, below, threshold, _CMP_GE_OQ));
        found.stretch[number] = stretch;
        found.lanes[number] = inside ^ aboveInside;
        found.enters[number] = inside;
        _mm512_store_pd(found.above[number], above);
        _mm512_store_pd(found.below[number], below);
        number += inside != aboveInside ? 1 : 0;
        above = below;
        aboveInside = inside;
    }
    return number;
}

//! As crossingRow of math.h.
void solveCrossings(PastedMask const& pasted, int number, Crossings& found) noexcept
{
    constexpr int kDOWN = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
    constexpr int kUP = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    auto const step = _mm512_set1_pd(pasted.step);
    auto const threshold = _mm512_set1_pd(pasted.thresh);
    for (int i = 0; i < number; ++i)
    {
        auto const& stretch = pasted.stretches[found.stretch[i]];
        auto const above = _mm512_load_pd(found.above[i]);
        auto const below = _mm512_load_pd(found.below[i]);
        auto const share = _mm512_div_pd(_mm512_sub_pd(threshold, above), _mm512_sub_pd(below, above));
        auto const crossing = _mm512_div_pd(_mm512_sub_pd(share, _mm512_set1_pd(stretch.offset)), step);
        auto const leaving = _mm512_add_pd(_mm512_roundscale_pd(crossing, kDOWN), _mm512_set1_pd(1.0));
        auto const enters = static_cast<__mmask8>(found.enters[i]);
        auto const row = _mm512_mask_roundscale_pd(leaving, enters, crossing, kUP);
        auto const clipped = _mm512_min_pd(_mm512_max_pd(row, _mm512_setzero_pd()), _mm512_set1_pd(stretch.count));
        _mm256_store_si256(reinterpret_cast<__m256i*>(found.rows[i]),
            _mm256_add_epi32(_mm512_cvttpd_epi32(clipped), _mm256_set1_epi32(stretch.first)));
    }
}

//! Appends those of `edges` where `mask` has a bit; 16 numbers are written, whatever their count.
std::int32_t* append(__m512i edges, std::uint32_t mask, std::int32_t* out) noexcept
{
    auto const chosen = static_cast<__mmask16>(mask);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(chosen, edges));
    return out + __builtin_popcount(chosen);
}

//! Writes a group's crossings lane by lane, each lane's from top to bottom.
//!
//! @param top position of the first lane's first pixel.
std::int32_t* writeInOrder(
    Crossings const& found, int begin, int end, std::int32_t top, std::int32_t height, std::int32_t* out) noexcept
{
    constexpr int kTWO = 2;
    constexpr int kFOUR = 4;
    auto const number = end - begin;
    auto const* lanes = found.lanes + begin;
    auto const* rows = found.rows[begin];
    if (number == 0)
    {
        return out;
    }
    // Fewer than four: what is read beyond the last crossing has no bit.
    if (number <= kTWO)
    {
        auto const order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
        auto const lane = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        auto const tops = _mm512_add_epi32(_mm512_set1_epi32(top), _mm512_mullo_epi32(lane, _mm512_set1_epi32(height)));
        auto const second = number == kTWO ? _pdep_u32(lanes[1], 0xaaaaU) : 0U;
        auto const all = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(rows));
        return append(_mm512_add_epi32(all, tops), _pdep_u32(lanes[0], 0x5555U) | second, out);
    }
    if (number <= kFOUR)
    {
        auto const order = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
        auto const lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        auto const tops = _mm512_add_epi32(_mm512_set1_epi32(top), _mm512_mullo_epi32(lane, _mm512_set1_epi32(height)));
        auto const low = _mm512_loadu_si512(rows);
        auto const high = _mm512_loadu_si512(rows + kTWO * kLANES);
        auto const fourth = number == kFOUR ? _pdep_u32(lanes[3], 0x88888888U) : 0U;
        auto const mask = _pdep_u32(lanes[0], 0x11111111U) | _pdep_u32(lanes[1], 0x22222222U)
            | _pdep_u32(lanes[2], 0x44444444U) | fourth;
        auto const first = _mm512_permutex2var_epi32(low, order, high);
        auto const last = _mm512_permutex2var_epi32(low, _mm512_add_epi32(order, _mm512_set1_epi32(4)), high);
        out = append(_mm512_add_epi32(first, tops), mask, out);
        return append(_mm512_add_epi32(last, _mm512_add_epi32(tops, _mm512_set1_epi32(4 * height))), mask >> 16, out);
    }
    for (int lane = 0; lane < kLANES; ++lane)
    {
        for (int i = 0; i < number; ++i)
        {
            *out = top + lane * height + rows[i * kLANES + lane]; // overwritten by the next one unless it counts
            out += lanes[i] >> lane & 1U;
        }
    }
    return out;
}

} // namespace

std::int32_t stripEdgesAvx512(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept
{
    // The cells of eight columns must lie in one window, one more to the right.
    if (pasted.columns.length * (kWINDOW - 2) < kLANES * pasted.columns.cells) // a box of some pixels only
    {
        return stripEdgesGeneric(pasted, begin, count, edges);
    }
    StripColumns columns;
    Crossings found;
    makeColumns(pasted, begin, count, columns);
    int number = 0;
    for (std::int32_t i = 0; i < count; i += kLANES)
    {
        auto const lanes = count - i < kLANES ? count - i : kLANES;
        number = findCrossings(pasted, columns.left + i, columns.fraction + i, lanes, number, found);
        found.groupEnd[i / kLANES] = number;
    }
    solveCrossings(pasted, number, found);
    auto* out = edges;
    int groupBegin = 0;
    for (std::int32_t i = 0; i < count; i += kLANES)
    {
        auto const top = (pasted.columns.pixels.first + begin + i) * pasted.size.height;
        auto const groupEnd = found.groupEnd[i / kLANES];
        out = writeInOrder(found, groupBegin, groupEnd, top, pasted.size.height, out);
        groupBegin = groupEnd;
    }
    return static_cast<std::int32_t>(out - edges);
}

} // namespace mask_rle
} // namespace maskline
