// Eight columns of pixels at a time. Calls no function of math.h: compiled here for AVX-512, it could be the one that
// the linker keeps for everybody.
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
//! Neighbouring cells that two vectors hold.
constexpr std::int32_t kWINDOW = 2 * kLANES;

//! Some neighbouring columns, a lane each.
struct Columns
{
    __mmask8 valid;
    std::int32_t firstLeft; //!< padded cell column of the first lane
    std::int32_t lastLeft;  //!< and of the last valid one
    __m512i leftIndex;      //!< of each lane's left cell in the window that starts at firstLeft
    __m512i rightIndex;
    __m512d fraction; //!< how far each lane lies between the two
    __m512d rest;     //!< 1 - fraction
    __m256i top;      //!< position of each lane's first pixel
};

Columns makeColumns(PastedMask const& pasted, std::int32_t begin, std::int32_t count) noexcept
{
    auto const& axis = pasted.columns;
    Columns columns;
    columns.valid = static_cast<__mmask8>((1U << count) - 1);
    auto const lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    auto const pixel = _mm256_add_epi32(_mm256_set1_epi32(axis.pixels.first + begin), lane);
    columns.top = _mm256_mullo_epi32(pixel, _mm256_set1_epi32(pasted.size.height));
    auto const centre = _mm512_add_pd(_mm512_cvtepi32_pd(pixel), _mm512_set1_pd(0.5));
    auto const share = _mm512_div_pd(_mm512_sub_pd(centre, _mm512_set1_pd(axis.low)), _mm512_set1_pd(axis.length));
    auto const side = _mm512_set1_pd(axis.side);
    auto const position = _mm512_add_pd(_mm512_mul_pd(share, side), _mm512_set1_pd(0.5));
    auto const clipped = _mm512_min_pd(_mm512_max_pd(position, _mm512_setzero_pd()), side);
    auto const left = _mm512_cvttpd_epi32(clipped);
    columns.fraction = _mm512_sub_pd(position, _mm512_cvtepi32_pd(left));
    columns.rest = _mm512_sub_pd(_mm512_set1_pd(1.0), columns.fraction);
    alignas(32) std::int32_t lefts[kLANES];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lefts), left);
    columns.firstLeft = lefts[0];
    columns.lastLeft = lefts[count - 1];
    columns.leftIndex = _mm512_cvtepi32_epi64(_mm256_sub_epi32(left, _mm256_set1_epi32(lefts[0])));
    columns.rightIndex = _mm512_add_epi64(columns.leftIndex, _mm512_set1_epi64(1));
    return columns;
}

//! The value of each lane in a row of cells, which start at the columns' first left one.
__m512d valuesOf(Columns const& columns, double const* cells) noexcept
{
    auto const low = _mm512_loadu_pd(cells);
    auto const high = _mm512_loadu_pd(cells + kLANES);
    auto const left = _mm512_permutex2var_pd(low, columns.leftIndex, high);
    auto const right = _mm512_permutex2var_pd(low, columns.rightIndex, high);
    return _mm512_add_pd(_mm512_mul_pd(left, columns.rest), _mm512_mul_pd(right, columns.fraction));
}

//! As crossingRow of math.h, a lane each; as position in the image.
__m256i crossings(
    Columns const& columns, Stretch const& stretch, __m512d above, __m512d below, __mmask8 enters, double step) noexcept
{
    auto const share = _mm512_div_pd(_mm512_sub_pd(_mm512_set1_pd(kTHRESH), above), _mm512_sub_pd(below, above));
    auto const crossing = _mm512_div_pd(_mm512_sub_pd(share, _mm512_set1_pd(stretch.offset)), _mm512_set1_pd(step));
    auto const down = _mm512_add_pd(
        _mm512_roundscale_pd(crossing, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), _mm512_set1_pd(1.0));
    auto const row
        = _mm512_mask_roundscale_pd(down, enters, crossing, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    auto const clipped = _mm512_min_pd(_mm512_max_pd(row, _mm512_setzero_pd()), _mm512_set1_pd(stretch.count));
    return _mm256_add_epi32(
        columns.top, _mm256_add_epi32(_mm512_cvttpd_epi32(clipped), _mm256_set1_epi32(stretch.first)));
}

//! Crossings of some columns, stretch by stretch.
struct Crossings
{
    std::int32_t number{0};
    alignas(32) std::int32_t positions[PastedMask::kSTRETCHES][kLANES];
    std::uint32_t lanes[PastedMask::kSTRETCHES]; //!< which of the lanes cross there
};

void cross(PastedMask const& pasted, Columns const& columns, Crossings& found) noexcept
{
    std::uint64_t mixed = 0;
    for (auto left = columns.firstLeft; left <= columns.lastLeft; ++left)
    {
        mixed |= pasted.mixed[left];
    }
    auto const stride = pasted.columns.side + 2;
    auto const* cells = pasted.cells + columns.firstLeft;
    auto const threshold = _mm512_set1_pd(kTHRESH);
    found.number = 0;
    auto belowRow = -1;
    auto below = _mm512_setzero_pd();
    __mmask8 belowInside = 0;
    for (; mixed != 0; mixed &= mixed - 1)
    {
        auto const k = static_cast<int>(__builtin_ctzll(mixed));
        auto const above = belowRow == k ? below : valuesOf(columns, cells + k * stride);
        auto const aboveInside
            = belowRow == k ? belowInside : _mm512_cmp_pd_mask(above, threshold, _CMP_GE_OQ);
        belowRow = k + 1;
        below = valuesOf(columns, cells + belowRow * stride);
        belowInside = _mm512_cmp_pd_mask(below, threshold, _CMP_GE_OQ);
        auto const lanes = static_cast<std::uint32_t>((aboveInside ^ belowInside) & columns.valid);
        if (lanes != 0)
        {
            found.lanes[found.number] = lanes;
            _mm256_store_si256(reinterpret_cast<__m256i*>(found.positions[found.number]),
                crossings(columns, pasted.stretches[k], above, below, belowInside, pasted.step));
            ++found.number;
        }
    }
}

//! Writes the crossings lane by lane.
std::int32_t* inOrder(Crossings const& found, int count, std::int32_t* edges) noexcept
{
    for (int lane = 0; lane < count; ++lane)
    {
        for (std::int32_t i = 0; i < found.number; ++i)
        {
            *edges = found.positions[i][lane]; // overwritten by the next one unless it counts
            edges += found.lanes[i] >> lane & 1U;
        }
    }
    return edges;
}

} // namespace

std::int32_t stripEdgesAVX512(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept
{
    Crossings found;
    auto* out = edges;
    for (std::int32_t i = 0; i < count; i += kLANES)
    {
        auto const lanes = count - i < kLANES ? count - i : kLANES;
        Columns const columns = makeColumns(pasted, begin + i, lanes);
        if (columns.lastLeft + 1 - columns.firstLeft >= kWINDOW) // a box of some pixels only
        {
            out += stripEdgesGeneric(pasted, begin + i, lanes, out);
            continue;
        }
        cross(pasted, columns, found);
        out = inOrder(found, lanes, out);
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
