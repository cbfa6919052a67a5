// Compiled with AVX-512: only what has internal linkage, and no templates of the standard library, so that the linker
// never picks a function from here for processors without it.
#include "roi_align/host_program.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the deliberately undefined source of unmasked intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

namespace maskline
{
namespace
{

struct Float32Lanes
{
    using Raw = float;

    static __m512 load(Raw const* from, __mmask16 mask)
    {
        return _mm512_maskz_loadu_ps(mask, from);
    }

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        _mm512_mask_storeu_ps(to, mask, values);
    }

    //! Writes a whole line past the caches.
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

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        _mm256_mask_storeu_epi16(to, mask, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
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

    static void store(Raw* to, __mmask16 mask, __m512 values)
    {
        __m512i const bits = _mm512_castps_si512(values);
        __m512i const odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        __mmask16 const nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
        rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000)); // a NaN stays one
        _mm256_mask_storeu_epi16(to, mask, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
    }
};

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
inline __m512 sumRows(typename Lanes::Raw const* from, __mmask16 mask, Rows const& rows, std::int32_t row)
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
    __m512 sum(__m512 first, __m512 second) const
    {
        __m512 total = _mm512_mul_ps(mWeights[0], _mm512_permutex2var_ps(first, mLanes[0], second));
        for (int k = 1; k < TAPS; ++k)
        {
            total = _mm512_fmadd_ps(mWeights[k], _mm512_permutex2var_ps(first, mLanes[k], second), total);
        }
        return total;
    }

    //! The same from 16 cells.
    __m512 sum(__m512 only) const
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
    {
    }

    __m512 sum(__m512 first, __m512 second) const
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

    __m512 sum(__m512 only) const
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

    void fetch(std::int32_t channel) const
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

//! Copies finished sums to the output, past the caches where whole lines are written: nothing here reads them again.
template <typename Lanes>
void writeOut(typename Lanes::Raw* to, float const* staging, std::int64_t count)
{
    std::int64_t i = 0;
    if (sizeof(typename Lanes::Raw) == 4 && reinterpret_cast<std::uintptr_t>(to) % 64 == 0)
    {
        for (; i + kROI_ALIGN_LANES <= count; i += kROI_ALIGN_LANES)
        {
            Float32Lanes::stream(reinterpret_cast<float*>(to) + i, _mm512_load_ps(staging + i));
        }
    }
    for (; i + kROI_ALIGN_LANES <= count; i += kROI_ALIGN_LANES)
    {
        Lanes::store(to + i, 0xffff, _mm512_load_ps(staging + i));
    }
    if (i < count)
    {
        Lanes::store(to + i, firstLanes(static_cast<std::int32_t>(count - i)), _mm512_load_ps(staging + i));
    }
}

//! Where the pairs of a box's pooled rows, its rows read and its strips lie in the program.
struct Parts
{
    explicit Parts(RoIAlignBlock const* block, std::int32_t pooledSide)
        : head(*reinterpret_cast<RoIAlignBoxHead const*>(block))
        , pairs(blocksOf(static_cast<std::size_t>(pooledSide) * static_cast<std::size_t>(head.rowTaps)))
        , offsets(block + 1)
        , weights(offsets + pairs)
        , rowsRead(weights + pairs)
        , strips(rowsRead + blocksOf(static_cast<std::size_t>(head.rows)))
    {
    }

    RoIAlignBoxHead const& head;
    std::size_t pairs;
    RoIAlignBlock const* offsets;
    RoIAlignBlock const* weights;
    RoIAlignBlock const* rowsRead;
    RoIAlignBlock const* strips;
};

template <typename Lanes>
Ahead aheadOf(RoIAlignBlock const* block, RoIAlignRun const& run)
{
    using Raw = typename Lanes::Raw;
    Parts const parts(block, run.pooledSide);
    Ahead ahead;
    ahead.first = reinterpret_cast<char const*>(
        static_cast<Raw const*>(parts.head.map) + run.firstChannel * parts.head.plane + parts.head.firstColumn);
    ahead.size = sizeof(Raw);
    ahead.plane = parts.head.plane * ahead.size;
    ahead.rows = parts.head.rows;
    ahead.bytes = parts.head.columns * ahead.size - 1;
    ahead.offsets = reinterpret_cast<std::int32_t const*>(parts.rowsRead);
    return ahead;
}

//! Runs one box.
template <typename Lanes>
void runBox(RoIAlignBlock const* block, Ahead const& ahead, RoIAlignRun const& run)
{
    using Raw = typename Lanes::Raw;
    Parts const parts(block, run.pooledSide);
    auto const& head = parts.head;
    std::int32_t const side = run.pooledSide;
    Rows const rows{side, head.rowTaps, reinterpret_cast<std::int32_t const*>(parts.offsets),
        reinterpret_cast<float const*>(parts.weights)};
    block = parts.strips;
    auto const* const map = static_cast<Raw const*>(head.map) + run.firstChannel * head.plane;
    for (std::int32_t i = 0; i < head.strips; ++i)
    {
        Columns columns;
        columns.head = *reinterpret_cast<RoIAlignStripHead const*>(block);
        columns.lanes = reinterpret_cast<std::int32_t const*>(block + 1);
        columns.weights = reinterpret_cast<float const*>(block + 1 + columns.head.taps);
        block += 1 + 2 * columns.head.taps;
        switch (columns.head.kind)
        {
        case RoIAlignStripKind::kTWO_ROWS:
            chooseRows<Lanes, RoIAlignStripKind::kTWO_ROWS>(
                map, head.plane, run.numChannels, rows, columns, i == 0 ? ahead : Ahead{}, run.staging);
            break;
        case RoIAlignStripKind::kONE_WINDOW:
            chooseRows<Lanes, RoIAlignStripKind::kONE_WINDOW>(
                map, head.plane, run.numChannels, rows, columns, i == 0 ? ahead : Ahead{}, run.staging);
            break;
        case RoIAlignStripKind::kTWO_WINDOWS:
            chooseRows<Lanes, RoIAlignStripKind::kTWO_WINDOWS>(
                map, head.plane, run.numChannels, rows, columns, i == 0 ? ahead : Ahead{}, run.staging);
            break;
        }
    }
    std::int64_t const bins = std::int64_t{side} * side;
    auto* const to = static_cast<Raw*>(run.output)
        + (static_cast<std::int64_t>(head.row) * run.channels + run.firstChannel) * bins;
    writeOut<Lanes>(to, run.staging, run.numChannels * bins);
}

template <typename Lanes>
void runBoxes(RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run)
{
    for (std::size_t i = 0; i < boxes; ++i)
    {
        auto const* const next = program + reinterpret_cast<RoIAlignBoxHead const*>(program)->blocks;
        runBox<Lanes>(program, i + 1 < boxes ? aheadOf<Lanes>(next, run) : Ahead{}, run);
        program = next;
    }
}

} // namespace

void runRoIAlignAvx512(RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run)
{
    switch (run.type)
    {
    case 0: runBoxes<Float32Lanes>(program, boxes, run); return;
    case 1: runBoxes<HalfLanes>(program, boxes, run); return;
    default: runBoxes<BFloat16Lanes>(program, boxes, run); return;
    }
}

} // namespace maskline
