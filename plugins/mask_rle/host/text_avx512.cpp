// A mask's cells and its text, a vector at a time. Calls no inline function of ours, as strip_avx512.cpp.
#include "mask_rle/host/edges.h"
#include "mask_rle/host/pasted_mask.h"

#include <cstddef>
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
constexpr std::int32_t kCOUNTS = 16; //!< written at once

//! The cells of one row as doubles, clipped to 0..1, up to seven zeros written beyond them.
//!
//! @return which of them are inside, a bit each.
std::uint64_t putRow(float const* row, std::int32_t side, double thresh, double* cells) noexcept
{
    auto const threshold = _mm512_set1_pd(thresh);
    std::uint64_t inside = 0;
    for (std::int32_t i = 0; i < side; i += kLANES)
    {
        auto const some = static_cast<__mmask8>((1U << (side - i < kLANES ? side - i : kLANES)) - 1);
        auto const numbers = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, row + i));
        // Of a NaN and a number, max gives the second.
        auto const cell = _mm512_min_pd(_mm512_max_pd(numbers, _mm512_setzero_pd()), _mm512_set1_pd(1.0));
        _mm512_storeu_pd(cells + i, cell);
        inside |= std::uint64_t{_mm512_cmp_pd_mask(cell, threshold, _CMP_GE_OQ)} << i;
    }
    return inside;
}

//! Sixteen numbers as COCO writes them, the characters of each from the lowest byte on.
struct Words
{
    alignas(64) std::int32_t characters[kCOUNTS];
    alignas(64) std::int32_t lengths[kCOUNTS];
};

//! The numbers' 5-bit groups with what says that another follows.
//!
//! @param magnitude of each number, or one less for a negative one; four characters hold 19 bits and a sign.
void makeWords(__m512i value, __m512i magnitude, Words& words) noexcept
{
    auto const isLonger = [&](int bits) { return _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << bits)); };
    auto const two = isLonger(4);
    auto const three = isLonger(9);
    auto const four = isLonger(14);
    auto const low = _mm512_or_si512(_mm512_and_si512(value, _mm512_set1_epi32(0x1f)),
        _mm512_and_si512(_mm512_slli_epi32(value, 3), _mm512_set1_epi32(0x1f00)));
    auto const high = _mm512_or_si512(_mm512_and_si512(_mm512_slli_epi32(value, 6), _mm512_set1_epi32(0x1f0000)),
        _mm512_and_si512(_mm512_slli_epi32(value, 9), _mm512_set1_epi32(0x1f000000)));
    auto characters = _mm512_add_epi32(_mm512_or_si512(low, high), _mm512_set1_epi32(0x30303030)); // '0'
    characters = _mm512_mask_add_epi32(characters, two, characters, _mm512_set1_epi32(0x20));
    characters = _mm512_mask_add_epi32(characters, three, characters, _mm512_set1_epi32(0x2000));
    characters = _mm512_mask_add_epi32(characters, four, characters, _mm512_set1_epi32(0x200000));
    auto const one = _mm512_set1_epi32(1);
    auto lengths = _mm512_mask_add_epi32(one, two, one, one);
    lengths = _mm512_mask_add_epi32(lengths, three, lengths, one);
    lengths = _mm512_mask_add_epi32(lengths, four, lengths, one);
    _mm512_store_si512(words.characters, characters);
    _mm512_store_si512(words.lengths, lengths);
}

} // namespace

void putCellsAvx512(float const* mask, std::int32_t side, PastedMask& pasted) noexcept
{
    auto const stride = side + 2;
    // Which cells of each row are inside, a bit each; a row of border above, some below.
    alignas(64) std::uint64_t inside[PastedMask::kSTRETCHES + kLANES + 1] = {};
    std::memset(pasted.cells, 0, static_cast<std::size_t>(stride) * sizeof(double));
    for (std::int32_t row = 0; row < side; ++row)
    {
        auto const* from = mask + row * side;
        auto* to = pasted.cells + (row + 1) * stride;
        to[0] = 0.0;
        inside[row + 1] = putRow(from, side, pasted.thresh, to + 1);
        to[side + 1] = 0.0;
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
        auto const mixed = _mm512_andnot_si512(
            _mm512_and_si512(both, _mm512_slli_epi64(both, 1)), _mm512_or_si512(any, _mm512_slli_epi64(any, 1)));
        for (std::int32_t left = 0; left <= side; ++left)
        {
            auto const bit = _mm512_set1_epi64(static_cast<long long>(std::uint64_t{1} << left));
            pasted.mixed[left] |= static_cast<std::uint64_t>(_mm512_test_epi64_mask(mixed, bit)) << k;
        }
    }
}

char* writeTextAvx512(std::int32_t const* edges, std::int32_t count, char* text) noexcept
{
    Words words;
    std::int32_t i = 0;
    for (; i + kCOUNTS <= count; i += kCOUNTS)
    {
        auto const* at = edges + i;
        auto const length = _mm512_sub_epi32(_mm512_loadu_si512(at), _mm512_loadu_si512(at - 1));
        auto const twoBefore = _mm512_sub_epi32(_mm512_loadu_si512(at - 2), _mm512_loadu_si512(at - 3));
        auto const value = _mm512_sub_epi32(length, twoBefore);
        auto const magnitude = _mm512_xor_si512(value, _mm512_srai_epi32(value, 31));
        if (_mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(1 << 19)) != 0)
        {
            text = writeTextGeneric(at, kCOUNTS, text);
            continue;
        }
        makeWords(value, magnitude, words);
        for (int j = 0; j < kCOUNTS; ++j)
        {
            std::memcpy(text, words.characters + j, sizeof(words.characters[j]));
            text += words.lengths[j];
        }
    }
    return writeTextGeneric(edges + i, count - i, text);
}

} // namespace mask_rle
} // namespace maskline
