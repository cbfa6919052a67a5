#include "roi_align/host/op.h"

#include "common/host/parallel.h"
#include "common/host/simd.h"
#include "roi_align/host/generic.h"
#include "roi_align/host/programs.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

constexpr std::int64_t kBOXES_A_RANGE = 64; // boxes one thread takes at a time

//! Boxes with an area, from the top of each image to its bottom, by centre: neighbours in the list read neighbouring
//! rows. The levels are mixed, because large boxes leave time to fetch the many lines of the finest map, which belong
//! to small ones. Boxes without area are answered here.
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
        if (a.image != b.image)
        {
            return a.image < b.image;
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

//! Averages in NCHW run as programs, the rest as everywhere.
[[maybe_unused]] void runAvx512(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads)
{
    bool const average
        = call.attributes.mode == RoIAlignMode::kALIGN_AVG || call.attributes.mode == RoIAlignMode::kWARP;
    if (average && call.shape.layout == FeatureLayout::kNCHW)
    {
        runRoIAlignPrograms(call, places, threads);
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
