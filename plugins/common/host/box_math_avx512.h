// box_math.h for 16 boxes at once; for files named *_avx512.cpp only.
//
// Operand order matters: `_mm512_min_ps(b, a)` is `least(a, b)` and `_mm512_max_ps(b, a)` is `greatest(a, b)` to the
// bit, NaN and signed zeros included. Everything here is inlined, so that no other file can be linked to a copy of it
// that this processor does not have.
#pragma once

#include "common/box_math.h"

#include <cstdint>
#include <immintrin.h>

#define MASKLINE_AVX512 static inline __attribute__((always_inline))

namespace maskline
{

struct Boxes16
{
    __m512 x0;
    __m512 y0;
    __m512 x1;
    __m512 y1;
};

MASKLINE_AVX512 __m512 polynomialStep(__m512 p, __m512 r, float coefficient)
{
    return _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(coefficient));
}

//! expFloat
MASKLINE_AVX512 __m512 expFloat(__m512 x)
{
    __m512 const round = _mm512_set1_ps(kEXP_ROUND);
    x = _mm512_max_ps(_mm512_set1_ps(kEXP_LOWEST), x);
    __m512 const shifted = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(kEXP_LOG2E)), round);
    __m512 const whole = _mm512_sub_ps(shifted, round);
    __m512 r = _mm512_sub_ps(x, _mm512_mul_ps(whole, _mm512_set1_ps(kEXP_LN2_HIGH)));
    r = _mm512_sub_ps(r, _mm512_mul_ps(whole, _mm512_set1_ps(kEXP_LN2_LOW)));
    __m512 p = _mm512_set1_ps(kEXP_P5);
    p = polynomialStep(p, r, kEXP_P4);
    p = polynomialStep(p, r, kEXP_P3);
    p = polynomialStep(p, r, kEXP_P2);
    p = polynomialStep(p, r, kEXP_P1);
    p = polynomialStep(p, r, kEXP_P0);
    p = _mm512_add_ps(_mm512_mul_ps(p, _mm512_mul_ps(r, r)), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1.F));
    __m512i const power = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(round));
    __m512i const half = _mm512_srai_epi32(power, 1);
    __m512i const bias = _mm512_set1_epi32(127);
    __m512i const first = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
    __m512i const second = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(power, half), bias), 23);
    return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(first)), _mm512_castsi512_ps(second));
}

//! decodeAxis
MASKLINE_AVX512 void decodeAxis(
    __m512 low, __m512 high, __m512 shift, __m512 logScale, __m512 limit, __m512& from, __m512& to)
{
    __m512 const half = _mm512_set1_ps(0.5F);
    __m512 const zero = _mm512_setzero_ps();
    __m512 const side = _mm512_sub_ps(high, low);
    __m512 const halfSide = _mm512_mul_ps(half, side);
    __m512 const centre = _mm512_add_ps(_mm512_add_ps(low, halfSide), _mm512_mul_ps(shift, side));
    __m512 const reach = _mm512_mul_ps(halfSide, expFloat(_mm512_min_ps(_mm512_set1_ps(kDELTA_SIZE_CLAMP), logScale)));
    from = _mm512_min_ps(limit, _mm512_max_ps(zero, _mm512_sub_ps(centre, reach)));
    to = _mm512_min_ps(limit, _mm512_max_ps(zero, _mm512_add_ps(centre, reach)));
}

//! isLargeEnough
MASKLINE_AVX512 __mmask16 isLargeEnough(Boxes16 const& boxes, __m512 minSide, __m512 height, __m512 width)
{
    __mmask16 fits = _mm512_cmp_ps_mask(_mm512_sub_ps(boxes.x1, boxes.x0), minSide, _CMP_GE_OQ);
    fits = _mm512_mask_cmp_ps_mask(fits, _mm512_sub_ps(boxes.y1, boxes.y0), minSide, _CMP_GE_OQ);
    fits = _mm512_mask_cmp_ps_mask(fits, boxes.x1, width, _CMP_LE_OQ);
    return _mm512_mask_cmp_ps_mask(fits, boxes.y1, height, _CMP_LE_OQ);
}

//! overlaps, of 16 boxes with one (every lane of `b` the same)
MASKLINE_AVX512 __mmask16 overlaps(Boxes16 const& a, __m512 areaA, Boxes16 const& b, __m512 areaB, __m512 thresh)
{
    __m512 const zero = _mm512_setzero_ps();
    __m512 width = _mm512_sub_ps(_mm512_min_ps(b.x1, a.x1), _mm512_max_ps(b.x0, a.x0));
    __m512 height = _mm512_sub_ps(_mm512_min_ps(b.y1, a.y1), _mm512_max_ps(b.y0, a.y0));
    width = _mm512_max_ps(zero, width);
    height = _mm512_max_ps(zero, height);
    __m512 const intersection = _mm512_mul_ps(width, height);
    __m512 const bound = _mm512_mul_ps(thresh, _mm512_sub_ps(_mm512_add_ps(areaA, areaB), intersection));
    return _mm512_cmp_ps_mask(intersection, bound, _CMP_GT_OQ);
}

//! bestFirstKey
MASKLINE_AVX512 __m512i bestFirstKey(__m512 values)
{
    __m512i bits = _mm512_castps_si512(values);
    __m512i const sign = _mm512_set1_epi32(INT32_MIN);
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(bits, sign), _mm512_setzero_si512());
    __mmask16 const positive = _mm512_testn_epi32_mask(bits, sign);
    __m512i const keys = _mm512_mask_xor_epi32(bits, positive, bits, _mm512_set1_epi32(INT32_MAX));
    __mmask16 const nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    return _mm512_mask_mov_epi32(keys, nan, _mm512_set1_epi32(-1));
}

//! The lanes below `count`, all when it is 16 or more.
MASKLINE_AVX512 __mmask16 firstLanes(std::int64_t count)
{
    return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << (count > 0 ? count : 0)) - 1U);
}

} // namespace maskline
