// One strip of a box: rows are summed in windows of 16 cells, columns picked out of them. Only for files compiled with
// AVX-512.
#pragma once

#include "roi_align/host/lanes_avx512.h"

#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

//! One box's pooled rows.
struct Rows
{
    std::int32_t count; //!< P
    std::int32_t taps;
    std::int32_t const* offsets;
    float const* weights;
};

//! One strip's bins.
struct Columns
{
    RoIAlignStripHead head;
    std::int32_t const* lanes;
    float const* weights;
};

//! Weighted sum of the feature rows of one pooled row in one window. TAPS 0: as many as `rows` says.
template <typename Lanes, int TAPS>
MASKLINE_INLINE __m512 sumRows(typename Lanes::Raw const* from, __mmask16 mask, Rows const& rows, std::int32_t row)
{
    std::int32_t const taps = TAPS > 0 ? TAPS : rows.taps;
    std::int32_t const* const offsets = rows.offsets + row * taps;
    float const* const weights = rows.weights + row * taps;
    __m512 sum = _mm512_mul_ps(Lanes::load(from + offsets[0], mask), _mm512_set1_ps(weights[0]));
    for (std::int32_t k = 1; k < taps; ++k)
    {
        sum = _mm512_fmadd_ps(Lanes::load(from + offsets[k], mask), _mm512_set1_ps(weights[k]), sum);
    }
    return sum;
}

//! The pairs of a strip's columns, in registers where their number is known. TAPS 0: read each time.
template <int TAPS>
struct Picker
{
    explicit Picker(Columns const& columns)
    {
        for (int k = 0; k < TAPS; ++k)
        {
            mLanes[k] = _mm512_load_si512(columns.lanes + k * kROI_ALIGN_LANES);
            mWeights[k] = _mm512_load_ps(columns.weights + k * kROI_ALIGN_LANES);
        }
    }

    //! Weighted sum of each lane's picks from 32 cells.
    MASKLINE_INLINE __m512 sum(__m512 first, __m512 second) const
    {
        __m512 total = _mm512_mul_ps(mWeights[0], _mm512_permutex2var_ps(first, mLanes[0], second));
        for (int k = 1; k < TAPS; ++k)
        {
            total = _mm512_fmadd_ps(mWeights[k], _mm512_permutex2var_ps(first, mLanes[k], second), total);
        }
        return total;
    }

    //! The same from 16 cells.
    MASKLINE_INLINE __m512 sum(__m512 only) const
    {
        __m512 total = _mm512_mul_ps(mWeights[0], _mm512_permutexvar_ps(mLanes[0], only));
        for (int k = 1; k < TAPS; ++k)
        {
            total = _mm512_fmadd_ps(mWeights[k], _mm512_permutexvar_ps(mLanes[k], only), total);
        }
        return total;
    }

    __m512i mLanes[TAPS];
    __m512 mWeights[TAPS];
};

template <>
struct Picker<0>
{
    explicit Picker(Columns const& columns)
        : mColumns(columns)
    {}

    MASKLINE_INLINE __m512 sum(__m512 first, __m512 second) const
    {
        __m512 total = _mm512_setzero_ps();
        for (std::int32_t k = 0; k < mColumns.head.taps; ++k)
        {
            __m512i const lanes = _mm512_load_si512(mColumns.lanes + k * kROI_ALIGN_LANES);
            __m512 const weights = _mm512_load_ps(mColumns.weights + k * kROI_ALIGN_LANES);
            total = _mm512_fmadd_ps(weights, _mm512_permutex2var_ps(first, lanes, second), total);
        }
        return total;
    }

    MASKLINE_INLINE __m512 sum(__m512 only) const
    {
        return sum(only, only);
    }

    Columns mColumns;
};

//! What the next box reads of its first channel: fetched while this box is worked on, a channel at a time.
struct Ahead
{
    char const* first = nullptr; //!< the first column of row 0
    std::int64_t plane = 0;      //!< bytes of a plane
    std::int32_t size = 0;       //!< bytes of an element
    std::int32_t rows = 0;
    std::int32_t bytes = 0; //!< from the first byte of a row to its last one
    std::int32_t const* offsets = nullptr;

    MASKLINE_INLINE void fetch(std::int32_t channel) const
    {
        char const* const from = first + channel * plane;
        for (std::int32_t i = 0; i < rows; ++i)
        {
            char const* const row = from + static_cast<std::int64_t>(offsets[i]) * size;
            for (std::int32_t at = 0; at < bytes; at += 64)
            {
                _mm_prefetch(row + at, _MM_HINT_T0);
            }
            _mm_prefetch(row + bytes, _MM_HINT_T0);
        }
    }
};

inline __mmask16 firstLanes(std::int32_t count)
{
    return static_cast<__mmask16>((1U << count) - 1U);
}

//! One strip of a box on `channels` planes, into staging [channels, P, P].
template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS, int COLUMN_TAPS>
void runStrip(typename Lanes::Raw const* map, std::int64_t plane, std::int32_t channels, Rows const& rows,
    Columns const& columns, Ahead const& ahead, float* staging)
{
    RoIAlignStripHead const head = columns.head;
    Picker<COLUMN_TAPS> const picker(columns);
    std::int32_t const side = rows.count;
    auto const mask = static_cast<__mmask16>(head.masks[0]);
    auto const mask2 = static_cast<__mmask16>(head.masks[1]);
    __mmask16 const written = firstLanes(head.bins);
    for (std::int32_t c = 0; c < channels; ++c)
    {
        ahead.fetch(c);
        auto const* const from = map + c * plane + head.windows[0];
        float* const to = staging + c * side * side + head.firstBin;
        std::int32_t i = 0;
        if (KIND == RoIAlignStripKind::kTWO_ROWS)
        {
            for (; i + 1 < side; i += 2)
            {
                __m512 const one = sumRows<Lanes, ROW_TAPS>(from, mask, rows, i);
                __m512 const two = sumRows<Lanes, ROW_TAPS>(from, mask, rows, i + 1);
                _mm512_mask_storeu_ps(to + i * side, firstLanes(2 * head.bins), picker.sum(one, two));
            }
        }
        for (; i < side; ++i)
        {
            __m512 const one = sumRows<Lanes, ROW_TAPS>(from, mask, rows, i);
            __m512 sum;
            if (KIND == RoIAlignStripKind::kTWO_WINDOWS)
            {
                auto const* const second = map + c * plane + head.windows[1];
                sum = picker.sum(one, sumRows<Lanes, ROW_TAPS>(second, mask2, rows, i));
            }
            else
            {
                sum = picker.sum(one);
            }
            _mm512_mask_storeu_ps(to + i * side, written, sum);
        }
    }
}

template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS>
void chooseColumns(typename Lanes::Raw const* map, std::int64_t plane, std::int32_t channels, Rows const& rows,
    Columns const& columns, Ahead const& ahead, float* staging)
{
    switch (columns.head.taps)
    {
    case 2: runStrip<Lanes, KIND, ROW_TAPS, 2>(map, plane, channels, rows, columns, ahead, staging); return;
    case 3: runStrip<Lanes, KIND, ROW_TAPS, 3>(map, plane, channels, rows, columns, ahead, staging); return;
    case 4: runStrip<Lanes, KIND, ROW_TAPS, 4>(map, plane, channels, rows, columns, ahead, staging); return;
    default: runStrip<Lanes, KIND, ROW_TAPS, 0>(map, plane, channels, rows, columns, ahead, staging); return;
    }
}

template <typename Lanes, RoIAlignStripKind KIND>
void chooseRows(typename Lanes::Raw const* map, std::int64_t plane, std::int32_t channels, Rows const& rows,
    Columns const& columns, Ahead const& ahead, float* staging)
{
    switch (rows.taps)
    {
    case 2: chooseColumns<Lanes, KIND, 2>(map, plane, channels, rows, columns, ahead, staging); return;
    case 3: chooseColumns<Lanes, KIND, 3>(map, plane, channels, rows, columns, ahead, staging); return;
    case 4: chooseColumns<Lanes, KIND, 4>(map, plane, channels, rows, columns, ahead, staging); return;
    default: chooseColumns<Lanes, KIND, 0>(map, plane, channels, rows, columns, ahead, staging); return;
    }
}

} // namespace
} // namespace maskline
