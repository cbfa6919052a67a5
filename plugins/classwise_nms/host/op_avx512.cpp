#include "classwise_nms/host/op.h"
#include "common/host/box_math_avx512.h"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

//! Every lane the sum of all, added in the order of kSOFTMAX_LANES.
MASKLINE_AVX512 __m512 sumLanes(__m512 low, __m512 high)
{
    __m512 sum = _mm512_add_ps(low, high);
    sum = _mm512_add_ps(sum, _mm512_shuffle_f32x4(sum, sum, _MM_SHUFFLE(1, 0, 3, 2)));
    sum = _mm512_add_ps(sum, _mm512_shuffle_f32x4(sum, sum, _MM_SHUFFLE(2, 3, 0, 1)));
    sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm512_add_ps(sum, _mm512_permute_ps(sum, _MM_SHUFFLE(2, 3, 0, 1)));
}

} // namespace

std::size_t scoreRowAvx512(float const* logits, std::int32_t classes, float thresh, std::uint32_t firstIndex,
    float* terms, std::uint64_t* found)
{
    std::int32_t const columns = classes + 1;
    __m512 maximum = _mm512_set1_ps(-__builtin_inff());
    for (std::int32_t i = 0; i < columns; i += 16)
    {
        __m512 const values = _mm512_mask_loadu_ps(maximum, firstLanes(columns - i), logits + i);
        maximum = _mm512_max_ps(values, maximum);
    }
    maximum = _mm512_set1_ps(_mm512_reduce_max_ps(maximum));
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (std::int32_t i = 0; i < columns; i += 16)
    {
        __mmask16 const lanes = firstLanes(columns - i);
        __m512 const term = expFloat(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, logits + i), maximum));
        _mm512_storeu_ps(terms + i, term);
        __m512& sum = sums[i / 16 % 2];
        sum = _mm512_mask_add_ps(sum, lanes, sum, term);
    }
    __m512 const sum = sumLanes(sums[0], sums[1]);
    __m512 const bound = _mm512_set1_ps(thresh);
    __m512i const classLanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    std::size_t count = 0;
    for (std::int32_t i = 0; i < classes; i += 16)
    {
        __m512 const scores = _mm512_div_ps(_mm512_loadu_ps(terms + i), sum);
        unsigned which = _mm512_mask_cmp_ps_mask(firstLanes(classes - i), scores, bound, _CMP_GT_OQ);
        if (which == 0)
        {
            continue;
        }
        __m512i const keys = bestFirstKey(scores);
        __m512i const index = _mm512_add_epi32(classLanes, _mm512_set1_epi32(static_cast<int>(firstIndex) + i));
        for (int half = 0; half < 2; ++half)
        {
            __m256i const halfKeys = half == 0 ? _mm512_castsi512_si256(keys) : _mm512_extracti64x4_epi64(keys, 1);
            __m256i const halfIndex = half == 0 ? _mm512_castsi512_si256(index) : _mm512_extracti64x4_epi64(index, 1);
            auto const mask = static_cast<__mmask8>(which >> (8 * half));
            __m512i const whole = _mm512_or_si512(
                _mm512_slli_epi64(_mm512_cvtepu32_epi64(halfKeys), 32), _mm512_cvtepu32_epi64(halfIndex));
            _mm512_storeu_si512(found + count, _mm512_maskz_compress_epi64(mask, whole));
            count += static_cast<std::size_t>(__builtin_popcount(mask));
        }
    }
    return count;
}

bool isSuppressedAvx512(float const* const* kept, std::int32_t const* labels, std::size_t count, Box const& box,
    float area, std::int32_t label, float thresh)
{
    Boxes16 const one{_mm512_set1_ps(box.x0), _mm512_set1_ps(box.y0), _mm512_set1_ps(box.x1), _mm512_set1_ps(box.y1)};
    for (std::size_t k = 0; k < count; k += 16)
    {
        __mmask16 const lanes = firstLanes(static_cast<std::int64_t>(count - k));
        __mmask16 const same
            = _mm512_mask_cmpeq_epi32_mask(lanes, _mm512_loadu_si512(labels + k), _mm512_set1_epi32(label));
        if (same == 0)
        {
            continue;
        }
        Boxes16 const chosen{_mm512_loadu_ps(kept[0] + k), _mm512_loadu_ps(kept[1] + k), _mm512_loadu_ps(kept[2] + k),
            _mm512_loadu_ps(kept[3] + k)};
        __mmask16 const over
            = overlaps(chosen, _mm512_loadu_ps(kept[4] + k), one, _mm512_set1_ps(area), _mm512_set1_ps(thresh));
        if ((over & same) != 0)
        {
            return true;
        }
    }
    return false;
}

} // namespace maskline
