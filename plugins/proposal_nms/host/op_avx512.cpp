#include "common/host/box_math_avx512.h"
#include "proposal_nms/host/op.h"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

//! Whole quotients of numbers below 2^31; exact, since a correctly rounded quotient never reaches the next whole
//! number.
MASKLINE_AVX512 __m512i quotient(__m512i dividend, __m512d divisor)
{
    __m256i const low = _mm512_castsi512_si256(dividend);
    __m256i const high = _mm512_extracti64x4_epi64(dividend, 1);
    __m256i const first = _mm512_cvttpd_epi32(_mm512_div_pd(_mm512_cvtepi32_pd(low), divisor));
    __m256i const second = _mm512_cvttpd_epi32(_mm512_div_pd(_mm512_cvtepi32_pd(high), divisor));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

//! Appends the candidates among 16 logits.
MASKLINE_AVX512 std::size_t append(
    std::uint64_t* found, std::size_t count, __mmask16 which, __m512 logits, __m512i flat)
{
    __m512i const keys = bestFirstKey(logits);
    __m512i const high = _mm512_set1_epi64(static_cast<long long>(0xffffffff00000000ULL));
    for (int half = 0; half < 2; ++half)
    {
        __m256i const halfKeys = half == 0 ? _mm512_castsi512_si256(keys) : _mm512_extracti64x4_epi64(keys, 1);
        __m256i const halfFlat = half == 0 ? _mm512_castsi512_si256(flat) : _mm512_extracti64x4_epi64(flat, 1);
        auto const mask = static_cast<__mmask8>(which >> (8 * half));
        __m512i const shifted = _mm512_and_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(halfKeys), 32), high);
        __m512i const whole = _mm512_or_si512(shifted, _mm512_cvtepu32_epi64(halfFlat));
        _mm512_storeu_si512(found + count, _mm512_maskz_compress_epi64(mask, whole));
        count += static_cast<std::size_t>(__builtin_popcount(mask));
    }
    return count;
}

} // namespace

std::size_t collectAvx512(
    ProposalLevel const& level, std::int32_t anchors, float lowest, std::uint64_t* found, std::size_t room)
{
    std::int32_t const cells = level.height * level.width;
    __m512 const bound = _mm512_set1_ps(lowest);
    __m512i const lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i const flatLanes = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(anchors));
    std::size_t count = 0;
    for (std::int32_t anchor = 0; anchor < anchors; ++anchor)
    {
        float const* const logits = level.logits + static_cast<std::int64_t>(anchor) * cells;
        for (std::int32_t cell = 0; cell < cells; cell += 16)
        {
            __m512 const values = _mm512_maskz_loadu_ps(firstLanes(cells - cell), logits + cell);
            __mmask16 const which = _mm512_mask_cmp_ps_mask(firstLanes(cells - cell), values, bound, _CMP_GE_OQ);
            if (which == 0)
            {
                continue;
            }
            if (count + 16 > room)
            {
                return room;
            }
            __m512i const flat = _mm512_add_epi32(_mm512_set1_epi32(cell * anchors + anchor), flatLanes);
            count = append(found, count, which, values, flat);
        }
    }
    return count;
}

std::size_t decodeAvx512(ProposalLevel const& level, Box const* corners, std::int32_t anchors,
    std::uint64_t const* candidates, std::size_t count, float imageHeight, float imageWidth, float minSide,
    float* const* columns, std::uint32_t* keys)
{
    std::int32_t const cells = level.height * level.width;
    __m512d const anchorsWide = _mm512_set1_pd(anchors);
    __m512d const widthWide = _mm512_set1_pd(level.width);
    __m512 const offset = _mm512_set1_ps(level.centreOffset);
    __m512 const stride = _mm512_set1_ps(level.stride);
    __m512 const height = _mm512_set1_ps(imageHeight);
    __m512 const width = _mm512_set1_ps(imageWidth);
    float const* const first = &corners[0].x0;
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; i += 16)
    {
        auto const rest = static_cast<std::int64_t>(count - i);
        __mmask16 const lanes = firstLanes(rest);
        __m512i const low = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(lanes), candidates + i);
        __m512i const high = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(lanes >> 8), candidates + i + 8);
        __m512i const flat
            = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)), _mm512_cvtepi64_epi32(high), 1);
        __m512i const key
            = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(_mm512_srli_epi64(low, 32))),
                _mm512_cvtepi64_epi32(_mm512_srli_epi64(high, 32)), 1);
        __m512i const cell = quotient(flat, anchorsWide);
        __m512i const anchor = _mm512_sub_epi32(flat, _mm512_mullo_epi32(cell, _mm512_set1_epi32(anchors)));
        __m512i const row = quotient(cell, widthWide);
        __m512i const column = _mm512_sub_epi32(cell, _mm512_mullo_epi32(row, _mm512_set1_epi32(level.width)));
        __m512 const x = _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(column), offset), stride);
        __m512 const y = _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(row), offset), stride);
        __m512i const corner = _mm512_slli_epi32(anchor, 2);
        __m512i place
            = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_slli_epi32(anchor, 2), _mm512_set1_epi32(cells)), cell);
        __m512 delta[4];
        __m512 side[4];
        for (int j = 0; j < 4; ++j)
        {
            delta[j] = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, place, level.deltas, 4);
            place = _mm512_add_epi32(place, _mm512_set1_epi32(cells));
            side[j] = _mm512_add_ps(
                j % 2 == 0 ? x : y, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, corner, first + j, 4));
        }
        Boxes16 boxes;
        decodeAxis(side[0], side[2], delta[0], delta[2], width, boxes.x0, boxes.x1);
        decodeAxis(side[1], side[3], delta[1], delta[3], height, boxes.y0, boxes.y1);
        __m512 const area = _mm512_mul_ps(_mm512_sub_ps(boxes.x1, boxes.x0), _mm512_sub_ps(boxes.y1, boxes.y0));
        __mmask16 const large = lanes & isLargeEnough(boxes, _mm512_set1_ps(minSide), height, width);
        _mm512_storeu_ps(columns[0] + left, _mm512_maskz_compress_ps(large, boxes.x0));
        _mm512_storeu_ps(columns[1] + left, _mm512_maskz_compress_ps(large, boxes.y0));
        _mm512_storeu_ps(columns[2] + left, _mm512_maskz_compress_ps(large, boxes.x1));
        _mm512_storeu_ps(columns[3] + left, _mm512_maskz_compress_ps(large, boxes.y1));
        _mm512_storeu_ps(columns[4] + left, _mm512_maskz_compress_ps(large, area));
        _mm512_storeu_si512(keys + left, _mm512_maskz_compress_epi32(large, key));
        left += static_cast<std::size_t>(__builtin_popcount(large));
    }
    return left;
}

} // namespace maskline
