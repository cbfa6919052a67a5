#include "roi_align/host/op.h"

#include "common/host/parallel.h"
#include "common/host/simd.h"
#include "roi_align/host/generic.h"
#include "roi_align/host/plan.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

constexpr std::int64_t kBOXES_A_RANGE = 64; // boxes one thread takes at a time
// An output greater than this is not in a core's caches any more when it is read: it need not go through them.
constexpr std::int64_t kSTREAMED_BYTES = std::int64_t{4} << 20;

//! Boxes with an area, ordered so that neighbours in the list read neighbouring rows of one map: by level, image and
//! centre. The others are answered here.
std::vector<RoIAlignPlace> placesOf(RoIAlignCall const& call)
{
    std::vector<RoIAlignPlace> places;
    std::int32_t const count = call.shape.images * call.shape.boxes;
    places.reserve(static_cast<std::size_t>(count));
    for (std::int32_t row = 0; row < count; ++row)
    {
        RoIAlignBox const box = boxOf(call, row);
        if (hasArea(box))
        {
            places.push_back({row, row / call.shape.boxes, levelOf(call.attributes, box), box});
        }
        else
        {
            roiAlignNothing(call, row);
        }
    }
    std::sort(places.begin(), places.end(), [](RoIAlignPlace const& a, RoIAlignPlace const& b) {
        if (a.level != b.level || a.image != b.image)
        {
            return a.level != b.level ? a.level < b.level : a.image < b.image;
        }
        float const left = a.box.y0 + a.box.y1;
        float const right = b.box.y0 + b.box.y1;
        return left != right ? left < right : a.row < b.row;
    });
    return places;
}

void runGeneric(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads)
{
    auto const count = static_cast<std::int64_t>(places.size());
    parallelFor(count, std::min<std::int64_t>(kBOXES_A_RANGE, (count + threads - 1) / threads), threads,
        [&](std::int64_t begin, std::int64_t end) {
        RoIAlignScratch scratch;
        for (std::int64_t i = begin; i < end; ++i)
        {
            roiAlignGeneric(call, places[static_cast<std::size_t>(i)], scratch);
        }
    });
}

//! Programs of `kBOXES_A_RANGE` boxes each; boxes that fit none are run here.
std::vector<RoIAlignProgram> programsOf(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads)
{
    auto const count = static_cast<std::int64_t>(places.size());
    std::vector<RoIAlignProgram> programs(static_cast<std::size_t>((count + kBOXES_A_RANGE - 1) / kBOXES_A_RANGE));
    parallelFor(count, kBOXES_A_RANGE, threads, [&](std::int64_t begin, std::int64_t end) {
        RoIAlignPlanScratch scratch;
        RoIAlignScratch generic;
        auto& program = programs[static_cast<std::size_t>(begin / kBOXES_A_RANGE)];
        for (std::int64_t i = begin; i < end; ++i)
        {
            auto const& place = places[static_cast<std::size_t>(i)];
            if (!appendBox(call, place, scratch, program))
            {
                roiAlignGeneric(call, place, generic);
            }
        }
    });
    return programs;
}

std::int64_t outputBytes(RoIAlignCall const& call)
{
    std::int64_t const side = call.attributes.pooledSide;
    std::int64_t const element = call.shape.type == FeatureType::kFLOAT ? 4 : 2;
    return std::int64_t{call.shape.images} * call.shape.boxes * storedChannels(call.shape) * side * side * element;
}

//! Channels outside, boxes inside: a band of a few planes stays in the cache while the boxes on it are worked on.
void runPrograms(RoIAlignCall const& call, std::vector<RoIAlignProgram> const& programs, int threads)
{
    std::int32_t const channels = call.shape.channels;
    std::int32_t const side = call.attributes.pooledSide;
    std::int32_t const most = std::max(1, std::min(kROI_ALIGN_RUN_CHANNELS, (channels + threads - 1) / threads));
    std::int64_t const groups = (channels + most - 1) / most;
    parallelFor(groups, 1, threads, [&](std::int64_t begin, std::int64_t end) {
        std::vector<RoIAlignBlock> staging(blocksOf(static_cast<std::size_t>(most * side * side)) + 1);
        RoIAlignRun run{static_cast<std::int32_t>(call.shape.type), side, channels, 0, 0, call.output,
            reinterpret_cast<float*>(staging.data()), outputBytes(call) > kSTREAMED_BYTES};
        for (std::int64_t group = begin; group < end; ++group)
        {
            run.firstChannel = static_cast<std::int32_t>(group) * most;
            run.numChannels = std::min(most, channels - run.firstChannel);
            for (auto const& program : programs)
            {
                runRoIAlignAvx512(program.blocks.data(), program.boxes, run);
            }
        }
    });
}

//! Averages in NCHW run as programs, the rest as everywhere.
[[maybe_unused]] void runAvx512(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads)
{
    bool const average
        = call.attributes.mode == RoIAlignMode::kALIGN_AVG || call.attributes.mode == RoIAlignMode::kWARP;
    if (average && call.shape.layout == FeatureLayout::kNCHW)
    {
        runPrograms(call, programsOf(call, places, threads), threads);
    }
    else
    {
        runGeneric(call, places, threads);
    }
}

} // namespace

void multiscaleRoIAlign(RoIAlignCall const& call, int threads)
{
    threads = threadCount(threads);
    MASKLINE_FASTEST(run)(call, placesOf(call), threads);
}

} // namespace maskline
