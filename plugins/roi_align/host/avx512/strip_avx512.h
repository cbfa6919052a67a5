// One strip of a box: rows are summed in windows of 16 cells, columns picked out of them. Rows run outside, channels
// inside. Only for files compiled with AVX-512.
#pragma once

#include "roi_align/host/avx512/fetcher_avx512.h"
#include "roi_align/host/avx512/lanes_avx512.h"

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

//! The pairs of one pooled row, in registers where their number is known. TAPS 0: read each time.
template <int TAPS>
struct RowSummer
{
    RowSummer(Rows const& rows, std::int32_t row)
    {
        for (int k = 0; k < TAPS; ++k)
        {
            mOffsets[k] = rows.offsets[row * TAPS + k];
            mWeights[k] = _mm512_set1_ps(rows.weights[row * TAPS + k]);
        }
    }

    //! Weighted sum of the feature rows in one window.
    template <typename Lanes>
    MASKLINE_INLINE __m512 sum(typename Lanes::Raw const* from, __mmask16 mask) const
    {
        __m512 total = _mm512_mul_ps(Lanes::load(from + mOffsets[0], mask), mWeights[0]);
        for (int k = 1; k < TAPS; ++k)
        {
            total = _mm512_fmadd_ps(Lanes::load(from + mOffsets[k], mask), mWeights[k], total);
        }
        return total;
    }

    //! The same in a narrow window.
    template <typename Lanes>
    MASKLINE_INLINE __m256 sumEight(typename Lanes::Raw const* from, __mmask8 mask) const
    {
        __m256 total = _mm256_mul_ps(Lanes::loadEight(from + mOffsets[0], mask), _mm512_castps512_ps256(mWeights[0]));
        for (int k = 1; k < TAPS; ++k)
        {
            __m256 const weight = _mm512_castps512_ps256(mWeights[k]);
            total = _mm256_fmadd_ps(Lanes::loadEight(from + mOffsets[k], mask), weight, total);
        }
        return total;
    }

    std::int64_t mOffsets[TAPS];
    __m512 mWeights[TAPS];
};

template <>
struct RowSummer<0>
{
    RowSummer(Rows const& rows, std::int32_t row)
        : mTaps(rows.taps)
        , mOffsets(rows.offsets + row * rows.taps)
        , mWeights(rows.weights + row * rows.taps)
    {}

    template <typename Lanes>
    MASKLINE_INLINE __m512 sum(typename Lanes::Raw const* from, __mmask16 mask) const
    {
        __m512 total = _mm512_setzero_ps();
        for (std::int32_t k = 0; k < mTaps; ++k)
        {
            total = _mm512_fmadd_ps(Lanes::load(from + mOffsets[k], mask), _mm512_set1_ps(mWeights[k]), total);
        }
        return total;
    }

    template <typename Lanes>
    MASKLINE_INLINE __m256 sumEight(typename Lanes::Raw const* from, __mmask8 mask) const
    {
        return _mm512_castps512_ps256(sum<Lanes>(from, mask));
    }

    std::int32_t mTaps;
    std::int32_t const* mOffsets;
    float const* mWeights;
};

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

inline __mmask16 firstLanes(std::int32_t count)
{
    return static_cast<__mmask16>((1U << count) - 1U);
}

//! Where a strip is read and written.
template <typename Raw>
struct Planes
{
    Raw const* first; //!< the first channel's
    std::int64_t elements;
    std::int32_t count;
    float* staging; //!< [count, P, P]
};

constexpr bool worksOnTwoRows(RoIAlignStripKind kind)
{
    return kind == RoIAlignStripKind::kTWO_ROWS || kind == RoIAlignStripKind::kTWO_NARROW_ROWS;
}

//! The bins of one pooled row in one plane.
template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS, int COLUMN_TAPS>
MASKLINE_INLINE __m512 binsOf(typename Lanes::Raw const* plane, RowSummer<ROW_TAPS> const& row,
    Picker<COLUMN_TAPS> const& picker, RoIAlignStripHead const& head)
{
    auto const* const second = plane + head.windows[1];
    __m512 const one = row.template sum<Lanes>(plane + head.windows[0], static_cast<__mmask16>(head.masks[0]));
    switch (KIND)
    {
    case RoIAlignStripKind::kWIDE_AND_NARROW:
        return picker.sum(
            one, _mm512_castps256_ps512(row.template sumEight<Lanes>(second, static_cast<__mmask8>(head.masks[1]))));
    case RoIAlignStripKind::kTWO_WINDOWS:
        return picker.sum(one, row.template sum<Lanes>(second, static_cast<__mmask16>(head.masks[1])));
    default: return picker.sum(one);
    }
}

//! The bins of a pooled row and of the next one in one plane.
template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS, int COLUMN_TAPS>
MASKLINE_INLINE __m512 binsOf(typename Lanes::Raw const* plane, RowSummer<ROW_TAPS> const& row,
    RowSummer<ROW_TAPS> const& next, Picker<COLUMN_TAPS> const& picker, RoIAlignStripHead const& head)
{
    auto const* const window = plane + head.windows[0];
    if (KIND == RoIAlignStripKind::kTWO_NARROW_ROWS)
    {
        auto const mask = static_cast<__mmask8>(head.masks[0]);
        __m512 const one = _mm512_castps256_ps512(row.template sumEight<Lanes>(window, mask));
        return picker.sum(_mm512_insertf32x8(one, next.template sumEight<Lanes>(window, mask), 1));
    }
    auto const mask = static_cast<__mmask16>(head.masks[0]);
    return picker.sum(row.template sum<Lanes>(window, mask), next.template sum<Lanes>(window, mask));
}

//! One strip of a box.
template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS, int COLUMN_TAPS>
void runStrip(Planes<typename Lanes::Raw> const& planes, Rows const& rows, Columns const& columns, Fetcher& fetcher)
{
    RoIAlignStripHead const head = columns.head;
    Picker<COLUMN_TAPS> const picker(columns);
    std::int32_t const side = rows.count;
    std::int32_t i = 0;
    for (; worksOnTwoRows(KIND) && i + 1 < side; i += 2)
    {
        fetcher.fetch(2);
        RowSummer<ROW_TAPS> const row(rows, i);
        RowSummer<ROW_TAPS> const next(rows, i + 1);
        for (std::int32_t c = 0; c < planes.count; ++c)
        {
            auto const* const plane = planes.first + c * planes.elements;
            float* const to = planes.staging + (c * side + i) * side + head.firstBin;
            _mm512_mask_storeu_ps(to, firstLanes(2 * head.bins), binsOf<Lanes, KIND>(plane, row, next, picker, head));
        }
    }
    for (; i < side; ++i)
    {
        fetcher.fetch(1);
        RowSummer<ROW_TAPS> const row(rows, i);
        for (std::int32_t c = 0; c < planes.count; ++c)
        {
            auto const* const plane = planes.first + c * planes.elements;
            float* const to = planes.staging + (c * side + i) * side + head.firstBin;
            _mm512_mask_storeu_ps(to, firstLanes(head.bins), binsOf<Lanes, KIND>(plane, row, picker, head));
        }
    }
}

template <typename Lanes, RoIAlignStripKind KIND, int ROW_TAPS>
void chooseColumns(
    Planes<typename Lanes::Raw> const& planes, Rows const& rows, Columns const& columns, Fetcher& fetcher)
{
    switch (columns.head.taps)
    {
    case 2: runStrip<Lanes, KIND, ROW_TAPS, 2>(planes, rows, columns, fetcher); return;
    case 3: runStrip<Lanes, KIND, ROW_TAPS, 3>(planes, rows, columns, fetcher); return;
    case 4: runStrip<Lanes, KIND, ROW_TAPS, 4>(planes, rows, columns, fetcher); return;
    default: runStrip<Lanes, KIND, ROW_TAPS, 0>(planes, rows, columns, fetcher); return;
    }
}

template <typename Lanes, RoIAlignStripKind KIND>
void chooseRows(Planes<typename Lanes::Raw> const& planes, Rows const& rows, Columns const& columns, Fetcher& fetcher)
{
    switch (rows.taps)
    {
    case 2: chooseColumns<Lanes, KIND, 2>(planes, rows, columns, fetcher); return;
    case 3: chooseColumns<Lanes, KIND, 3>(planes, rows, columns, fetcher); return;
    case 4: chooseColumns<Lanes, KIND, 4>(planes, rows, columns, fetcher); return;
    default: chooseColumns<Lanes, KIND, 0>(planes, rows, columns, fetcher); return;
    }
}

} // namespace
} // namespace maskline
