// Eight columns of pixels at a time, in four passes over a strip. A pass by itself has few branches that depend on the
// mask's shape, and no long chain of results: that is what the time goes into otherwise.
//
// Calls no function of math.h: compiled here for AVX-512, it could be the one that the linker keeps for everybody.
#include "mask_rle/edges.h"
#include "mask_rle/pasted_mask.h"

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
    auto const half = _mm512_set1_pd(0.5);
    auto pixel = _mm256_add_epi32(
        _mm256_set1_epi32(box.pixels.first + begin), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (std::int32_t i = 0; i < count; i += kLANES)
    {
        auto const centre = _mm512_add_pd(_mm512_cvtepi32_pd(pixel), half);
        auto const share = _mm512_div_pd(_mm512_sub_pd(centre, _mm512_set1_pd(box.low)), _mm512_set1_pd(box.length));
        auto const position = _mm512_add_pd(_mm512_mul_pd(share, side), half);
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
int findCrossings(
    PastedMask const& pasted, std::int32_t const* left, double const* fractions, int count, int number, Crossings& found) noexcept
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
    auto const threshold = _mm512_set1_pd(kTHRESH);
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
    for (int i = 0; i < number; ++i)
    {
        auto const& stretch = pasted.stretches[found.stretch[i]];
        auto const above = _mm512_load_pd(found.above[i]);
        auto const below = _mm512_load_pd(found.below[i]);
        auto const share = _mm512_div_pd(_mm512_sub_pd(_mm512_set1_pd(kTHRESH), above), _mm512_sub_pd(below, above));
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
std::int32_t* writeInOrder(Crossings const& found, int begin, int end, std::int32_t top, std::int32_t height, std::int32_t* out) noexcept
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
        auto const tops = _mm512_add_epi32(
            _mm512_set1_epi32(top), _mm512_mullo_epi32(lane, _mm512_set1_epi32(height)));
        auto const second = number == kTWO ? _pdep_u32(lanes[1], 0xaaaaU) : 0U;
        auto const all = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(rows));
        return append(_mm512_add_epi32(all, tops), _pdep_u32(lanes[0], 0x5555U) | second, out);
    }
    if (number <= kFOUR)
    {
        auto const order = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
        auto const lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        auto const tops = _mm512_add_epi32(
            _mm512_set1_epi32(top), _mm512_mullo_epi32(lane, _mm512_set1_epi32(height)));
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

//! The cells of one row as doubles, up to seven zeros written beyond them.
void putRow(std::uint8_t const* row, std::int32_t side, double* cells) noexcept
{
    for (std::int32_t i = 0; i < side; i += kLANES)
    {
        auto const some = static_cast<__mmask16>((1U << (side - i < kLANES ? side - i : kLANES)) - 1);
        auto const numbers = _mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(some, row + i));
        _mm512_storeu_pd(cells + i, _mm512_cvtepi32_pd(numbers));
    }
}

} // namespace

void putCellsAVX512(std::uint8_t const* mask, std::int32_t side, PastedMask& pasted) noexcept
{
    auto const stride = side + 2;
    auto const all = (std::uint64_t{1} << side) - 1;
    // Which cells of each row are inside, a bit each; a row of border above, some below.
    alignas(64) std::uint64_t inside[PastedMask::kSTRETCHES + kLANES + 1] = {};
    std::memset(pasted.cells, 0, static_cast<std::size_t>(stride) * sizeof(double));
    for (std::int32_t row = 0; row < side; ++row)
    {
        auto const* from = mask + row * side;
        auto* to = pasted.cells + (row + 1) * stride;
        to[0] = 0.0;
        putRow(from, side, to + 1);
        to[side + 1] = 0.0;
        static_assert(kINSIDE == 128, "the highest bit of a byte");
        inside[row + 1] = _cvtmask64_u64(_mm512_movepi8_mask(_mm512_maskz_loadu_epi8(_cvtu64_mask64(all), from)));
    }
    std::memset(pasted.cells + (side + 1) * stride, 0, static_cast<std::size_t>(stride) * sizeof(double));
    // As mixedStretches of math.h, with rows and columns in each other's place, and then turned around.
    std::memset(pasted.mixed, 0, sizeof(pasted.mixed));
    for (std::int32_t k = 0; k <= side; k += kLANES)
    {
        auto const above = _mm512_loadu_si512(inside + k);
        auto const below = _mm512_loadu_si512(inside + k + 1);
        auto const any = _mm512_or_si512(above, below);
        auto const both = _mm512_and_si512(above, below);
        auto const mixed = _mm512_andnot_si512(_mm512_and_si512(both, _mm512_slli_epi64(both, 1)),
            _mm512_or_si512(any, _mm512_slli_epi64(any, 1)));
        for (std::int32_t left = 0; left <= side; ++left)
        {
            auto const bit = _mm512_set1_epi64(static_cast<long long>(std::uint64_t{1} << left));
            pasted.mixed[left] |= static_cast<std::uint64_t>(_mm512_test_epi64_mask(mixed, bit)) << k;
        }
    }
}

std::int32_t stripEdgesAVX512(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept
{
    // The cells of eight columns must lie in one window, one more to the right.
    if (pasted.columns.length * (kWINDOW - 2) < kLANES * pasted.columns.side) // a box of some pixels only
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

char* writeTextAVX512(std::int32_t const* edges, std::int32_t count, char* text) noexcept
{
    constexpr std::int32_t kCOUNTS = 16;
    std::int32_t i = 0;
    for (; i + kCOUNTS <= count; i += kCOUNTS)
    {
        auto const* at = edges + i;
        auto const length = _mm512_sub_epi32(_mm512_loadu_si512(at), _mm512_loadu_si512(at - 1));
        auto const twoBefore = _mm512_sub_epi32(_mm512_loadu_si512(at - 2), _mm512_loadu_si512(at - 3));
        auto const value = _mm512_sub_epi32(length, twoBefore);
        auto const magnitude = _mm512_xor_si512(value, _mm512_srai_epi32(value, 31));
        // Four characters hold 19 bits and a sign.
        if (_mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << 19)) != 0)
        {
            text = writeTextGeneric(at, kCOUNTS, text);
            continue;
        }
        auto const two = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << 4));
        auto const three = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << 9));
        auto const four = _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << 14));
        auto words = _mm512_set1_epi32(0x30303030); // '0'
        auto const group = [&](unsigned shift, int mask) {
            auto const bits = _mm512_and_si512(
                _mm512_slli_epi32(value, shift), _mm512_set1_epi32(mask));
            words = _mm512_add_epi32(words, bits);
        };
        group(0, 0x1f);
        group(3, 0x1f00);
        group(6, 0x1f0000);
        group(9, 0x1f000000);
        words = _mm512_mask_add_epi32(words, two, words, _mm512_set1_epi32(0x20)); // "more follows"
        words = _mm512_mask_add_epi32(words, three, words, _mm512_set1_epi32(0x2000));
        words = _mm512_mask_add_epi32(words, four, words, _mm512_set1_epi32(0x200000));
        auto lengths = _mm512_set1_epi32(1);
        lengths = _mm512_mask_add_epi32(lengths, two, lengths, _mm512_set1_epi32(1));
        lengths = _mm512_mask_add_epi32(lengths, three, lengths, _mm512_set1_epi32(1));
        lengths = _mm512_mask_add_epi32(lengths, four, lengths, _mm512_set1_epi32(1));
        alignas(64) std::int32_t word[kCOUNTS];
        alignas(64) std::int32_t size[kCOUNTS];
        _mm512_store_si512(word, words);
        _mm512_store_si512(size, lengths);
        for (int j = 0; j < kCOUNTS; ++j)
        {
            std::memcpy(text, word + j, sizeof(word[j]));
            text += size[j];
        }
    }
    return writeTextGeneric(edges + i, count - i, text);
}

} // namespace mask_rle
} // namespace maskline
