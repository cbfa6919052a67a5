// Compiled with AVX-512: only what has internal linkage, and no templates of the standard library, so that the linker
// never picks a function from here for processors without it.
#include "roi_align/host/strip_avx512.h"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

//! Copies finished sums to the output; past the caches if `streams`, but for the ends that share a vector's place with
//! what other calls write.
template <typename Lanes>
void writeOut(typename Lanes::Raw* to, float const* staging, std::int64_t count, bool streams)
{
    std::int64_t i = 0;
    if (streams)
    {
        constexpr std::uintptr_t kBYTES = kROI_ALIGN_LANES * sizeof(*to);
        std::uintptr_t const past = reinterpret_cast<std::uintptr_t>(to) % kBYTES;
        std::int64_t const head = past == 0 ? 0 : static_cast<std::int64_t>((kBYTES - past) / sizeof(*to));
        if (head > 0 && head <= count)
        {
            Lanes::store(to, firstLanes(static_cast<std::int32_t>(head)), _mm512_load_ps(staging));
            i = head;
        }
        for (; i + kROI_ALIGN_LANES <= count; i += kROI_ALIGN_LANES)
        {
            Lanes::stream(to + i, _mm512_loadu_ps(staging + i));
        }
    }
    for (; i < count; i += kROI_ALIGN_LANES)
    {
        std::int64_t const left = count - i;
        __mmask16 const mask = left >= kROI_ALIGN_LANES ? 0xffff : firstLanes(static_cast<std::int32_t>(left));
        Lanes::store(to + i, mask, _mm512_maskz_loadu_ps(mask, staging + i));
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
    {}

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
    writeOut<Lanes>(to, run.staging, run.numChannels * bins, run.streams);
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
    case 0: runBoxes<Float32Lanes>(program, boxes, run); break;
    case 1: runBoxes<HalfLanes>(program, boxes, run); break;
    default: runBoxes<BFloat16Lanes>(program, boxes, run); break;
    }
    _mm_sfence(); // what was written past the caches is there before another thread is told so
}

} // namespace maskline
