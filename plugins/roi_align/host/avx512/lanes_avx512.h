// Sixteen or eight features at once: how each type is loaded as float32 and stored. Only for files compiled with
// AVX-512.
#pragma once

#include "roi_align/host/program.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the deliberately undefined source of unmasked intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

// A call in the inner loop would write all vector registers to memory and read them back.
#define MASKLINE_INLINE inline __attribute__((always_inline))

struct Float32Lanes
{
    using Raw = float;

    static __m512 load(Raw const* from, __mmask16 mask)
    {
        return _mm512_maskz_loadu_ps(mask, from);
    }

    static __m256 loadEight(Raw const* from, __mmask8 mask)
    {
        return _mm256_maskz_loadu_ps(mask, from);
    }

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        _mm512_mask_storeu_ps(to, mask, values);
    }

    //! Writes past the caches, where a vector's bytes are aligned.
    static void stream(Raw* to, __m512 values)
    {
        _mm512_stream_ps(to, values);
    }
};

struct HalfLanes
{
    using Raw = std::uint16_t;

    static __m512 load(Raw const* from, __mmask16 mask)
    {
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from));
    }

    static __m256 loadEight(Raw const* from, __mmask8 mask)
    {
        return _mm256_cvtph_ps(_mm_maskz_loadu_epi16(mask, from));
    }

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        _mm256_mask_storeu_epi16(to, mask, rounded(values));
    }

    static void stream(Raw* to, __m512 values)
    {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), rounded(values));
    }

    static __m256i rounded(__m512 values)
    {
        return _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
};

struct BFloat16Lanes
{
    using Raw = std::uint16_t;

    static __m512 load(Raw const* from, __mmask16 mask)
    {
        __m512i const wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }

    static __m256 loadEight(Raw const* from, __mmask8 mask)
    {
        __m256i const wide = _mm256_cvtepu16_epi32(_mm_maskz_loadu_epi16(mask, from));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        _mm256_mask_storeu_epi16(to, mask, rounded(values));
    }

    static void stream(Raw* to, __m512 values)
    {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), rounded(values));
    }

    static __m256i rounded(__m512 values)
    {
        __m512i const bits = _mm512_castps_si512(values);
        __m512i const odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        __m512i const even = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        __mmask16 const nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
        __m512i const all = _mm512_mask_or_epi32(even, nan, bits, _mm512_set1_epi32(0x400000)); // a NaN stays one
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(all, 16));
    }
};

} // namespace
} // namespace maskline
