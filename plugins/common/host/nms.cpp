#include "common/host/nms.h"

#include "common/host/simd.h"

#include <algorithm>
#include <array>

namespace maskline
{
namespace
{

std::size_t greedyNmsGeneric(float const* const* boxes, std::size_t count, float thresh, std::size_t limit,
    float* const* keptBoxes, std::uint32_t* kept)
{
    std::size_t found = 0;
    for (std::size_t i = 0; i < count && found < limit; ++i)
    {
        Box const box{boxes[0][i], boxes[1][i], boxes[2][i], boxes[3][i]};
        bool alive = true;
        for (std::size_t k = 0; k < found && alive; ++k)
        {
            Box const chosen{keptBoxes[0][k], keptBoxes[1][k], keptBoxes[2][k], keptBoxes[3][k]};
            alive = !overlaps(chosen, keptBoxes[4][k], box, boxes[4][i], thresh);
        }
        if (alive)
        {
            for (int column = 0; column < 5; ++column)
            {
                keptBoxes[column][found] = boxes[column][i];
            }
            kept[found++] = static_cast<std::uint32_t>(i);
        }
    }
    return found;
}

} // namespace

void greedyNms(BoxColumns& boxes, std::size_t count, float thresh, std::size_t limit, BoxColumns& scratch,
    std::vector<std::uint32_t>& kept)
{
    limit = std::min(limit, count);
    scratch.resize(limit);
    kept.resize(limit);
    std::array<float const*, 5> const from{boxes.x0(), boxes.y0(), boxes.x1(), boxes.y1(), boxes.area()};
    std::array<float*, 5> const to{scratch.x0(), scratch.y0(), scratch.x1(), scratch.y1(), scratch.area()};
    kept.resize(MASKLINE_FASTEST(greedyNms)(from.data(), count, thresh, limit, to.data(), kept.data()));
}

void sortCandidates(std::vector<std::uint64_t>& candidates, std::vector<std::uint64_t>& scratch)
{
    constexpr std::size_t kFEW = 128;
    constexpr int kDIGIT = 8;
    constexpr std::size_t kBINS = 1U << kDIGIT;
    if (candidates.size() <= kFEW)
    {
        std::sort(candidates.begin(), candidates.end());
        return;
    }
    std::uint64_t varying = 0;
    for (auto const candidate : candidates)
    {
        varying |= candidate ^ candidates.front();
    }
    scratch.resize(candidates.size());
    for (int shift = 0; shift < 64; shift += kDIGIT)
    {
        if ((varying >> shift & (kBINS - 1)) == 0)
        {
            continue; // the digit is the same everywhere
        }
        std::array<std::size_t, kBINS> places{};
        for (auto const candidate : candidates)
        {
            ++places[candidate >> shift & (kBINS - 1)];
        }
        std::size_t before = 0;
        for (auto& place : places)
        {
            std::size_t const here = place;
            place = before;
            before += here;
        }
        for (auto const candidate : candidates)
        {
            scratch[places[candidate >> shift & (kBINS - 1)]++] = candidate;
        }
        candidates.swap(scratch);
    }
}

} // namespace maskline
