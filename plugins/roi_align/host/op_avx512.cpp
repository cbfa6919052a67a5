// Compiled with AVX-512: only what has internal linkage, and no templates of the standard library, so that the linker
// never picks a function from here for processors without it.
#include "roi_align/host/avx512/strip_avx512.h"

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

//! Has the ends of a box's output ready when they are written, where these are no ends of lines: then they cannot go
//! past the caches, and a store that waits for its line holds up the ones after it.
inline void fetchEnds(char const* begin, char const* end)
{
    if (reinterpret_cast<std::uintptr_t>(begin) % kROI_ALIGN_LINE != 0)
    {
        __builtin_prefetch(begin, 1);
    }
    if (reinterpret_cast<std::uintptr_t>(end) % kROI_ALIGN_LINE != 0)
    {
        __builtin_prefetch(end, 1);
    }
}

//! Where the pairs of a box's pooled rows and its strips lie in the program.
struct Parts
{
    explicit Parts(RoIAlignBlock const* block, std::int32_t pooledSide)
        : head(*reinterpret_cast<RoIAlignBoxHead const*>(block))
        , pairs(blocksOf(static_cast<std::size_t>(pooledSide) * static_cast<std::size_t>(head.rowTaps)))
        , offsets(block + 1)
        , weights(offsets + pairs)
        , strips(weights + pairs)
    {}

    RoIAlignBoxHead const& head;
    std::size_t pairs;
    RoIAlignBlock const* offsets;
    RoIAlignBlock const* weights;
    RoIAlignBlock const* strips;
};

//! Runs one box.
template <typename Lanes>
void runBox(RoIAlignBlock const* block, RoIAlignRun const& run, Fetcher& fetcher)
{
    using Raw = typename Lanes::Raw;
    Parts const parts(block, run.pooledSide);
    auto const& head = parts.head;
    std::int32_t const side = run.pooledSide;
    std::int64_t const bins = std::int64_t{side} * side;
    auto* const to = static_cast<Raw*>(run.output)
        + (static_cast<std::int64_t>(head.row) * run.channels + run.firstChannel) * bins;
    fetchEnds(reinterpret_cast<char const*>(to), reinterpret_cast<char const*>(to + run.numChannels * bins));
    Rows const rows{side, head.rowTaps, reinterpret_cast<std::int32_t const*>(parts.offsets),
        reinterpret_cast<float const*>(parts.weights)};
    block = parts.strips;
    Planes<Raw> const planes{
        static_cast<Raw const*>(head.map) + run.firstChannel * head.plane, head.plane, run.numChannels, run.staging};
    for (std::int32_t i = 0; i < head.strips; ++i)
    {
        Columns columns;
        columns.head = *reinterpret_cast<RoIAlignStripHead const*>(block);
        columns.lanes = reinterpret_cast<std::int32_t const*>(block + 1);
        columns.weights = reinterpret_cast<float const*>(block + 1 + columns.head.taps);
        block += 1 + 2 * columns.head.taps;
        switch (columns.head.kind)
        {
        case RoIAlignStripKind::kTWO_NARROW_ROWS:
            chooseRows<Lanes, RoIAlignStripKind::kTWO_NARROW_ROWS>(planes, rows, columns, fetcher);
            break;
        case RoIAlignStripKind::kTWO_ROWS:
            chooseRows<Lanes, RoIAlignStripKind::kTWO_ROWS>(planes, rows, columns, fetcher);
            break;
        case RoIAlignStripKind::kONE_WINDOW:
            chooseRows<Lanes, RoIAlignStripKind::kONE_WINDOW>(planes, rows, columns, fetcher);
            break;
        case RoIAlignStripKind::kWIDE_AND_NARROW:
            chooseRows<Lanes, RoIAlignStripKind::kWIDE_AND_NARROW>(planes, rows, columns, fetcher);
            break;
        case RoIAlignStripKind::kTWO_WINDOWS:
            chooseRows<Lanes, RoIAlignStripKind::kTWO_WINDOWS>(planes, rows, columns, fetcher);
            break;
        }
    }
    writeOut<Lanes>(to, run.staging, run.numChannels * bins, run.streams);
}

template <typename Lanes>
void runBoxes(RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run, RoIAlignAhead const& ahead)
{
    Fetcher fetcher(ahead, static_cast<std::int64_t>(boxes) * run.pooledSide);
    for (std::size_t i = 0; i < boxes; ++i)
    {
        runBox<Lanes>(program, run, fetcher);
        program += reinterpret_cast<RoIAlignBoxHead const*>(program)->blocks;
    }
}

} // namespace

void runRoIAlignAvx512(
    RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run, RoIAlignAhead const& ahead)
{
    switch (run.type)
    {
    case 0: runBoxes<Float32Lanes>(program, boxes, run, ahead); break;
    case 1: runBoxes<HalfLanes>(program, boxes, run, ahead); break;
    default: runBoxes<BFloat16Lanes>(program, boxes, run, ahead); break;
    }
    _mm_sfence(); // what was written past the caches is there before another thread is told so
}

} // namespace maskline
