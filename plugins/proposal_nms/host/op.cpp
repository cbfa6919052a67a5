#include "proposal_nms/host/op.h"

#include "common/host/nms.h"
#include "common/host/parallel.h"
#include "common/host/simd.h"
#include "proposal_nms/anchors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace maskline
{
namespace
{

using Candidates = std::vector<std::uint64_t>;

//! What is left of one level of one image, best first.
struct LevelResult
{
    BoxColumns boxes;
    std::vector<std::uint32_t> keys;
    std::vector<std::uint32_t> kept; //!< indices into the two above
};

std::size_t collectGeneric(
    ProposalLevel const& level, std::int32_t anchors, float lowest, std::uint64_t* found, std::size_t room)
{
    std::int32_t const cells = level.height * level.width;
    std::size_t count = 0;
    for (std::int32_t anchor = 0; anchor < anchors; ++anchor)
    {
        float const* const logits = level.logits + static_cast<std::int64_t>(anchor) * cells;
        for (std::int32_t cell = 0; cell < cells; ++cell)
        {
            if (!(logits[cell] >= lowest))
            {
                continue;
            }
            if (count + 16 > room)
            {
                return room;
            }
            found[count++]
                = candidateOf(bestFirstKey(logits[cell]), static_cast<std::uint32_t>(cell * anchors + anchor));
        }
    }
    return count;
}

//! A logit that about `top` of the `all` logits reach, by a sample; rather too low than too high.
float guessLowest(float const* logits, std::size_t all, std::size_t top)
{
    constexpr std::size_t kSAMPLE = 2048;
    constexpr double kSPREADS = 4.; // standard deviations of the number of samples above the wanted logit
    double const expected = static_cast<double>(top) * kSAMPLE / static_cast<double>(all);
    auto const place = static_cast<std::size_t>(expected + kSPREADS * std::sqrt(expected) + kSPREADS);
    if (place >= kSAMPLE)
    {
        return -std::numeric_limits<float>::infinity();
    }
    std::vector<std::uint32_t> keys(kSAMPLE);
    for (std::size_t i = 0; i < kSAMPLE; ++i)
    {
        keys[i] = bestFirstKey(logits[i * all / kSAMPLE]);
    }
    std::nth_element(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(place), keys.end());
    return keys[place] == kNAN_KEY ? -std::numeric_limits<float>::infinity() : valueOfKey(keys[place]);
}

//! The best `top` anchors of a level, best first; fewer when the level has fewer that are not NaN.
Candidates bestOfLevel(ProposalLevel const& level, std::int32_t anchors, std::size_t top)
{
    constexpr std::size_t kVECTOR = 16;
    std::size_t const all = static_cast<std::size_t>(level.height) * static_cast<std::size_t>(level.width)
        * static_cast<std::size_t>(anchors);
    std::size_t const largest = all + 2 * kVECTOR;
    float const none = -std::numeric_limits<float>::infinity();
    float lowest = guessLowest(level.logits, all, top);
    // With a good guess a few times `top`; the exact answer does not depend on the guess, only the time does.
    std::size_t room = lowest == none ? largest : std::min(largest, 8 * top + 4096);
    Candidates candidates(room);
    std::size_t count = MASKLINE_FASTEST(collect)(level, anchors, lowest, candidates.data(), room);
    if (count < top && lowest != none)
    {
        lowest = none;
        count = room;
    }
    if (count + kVECTOR > room)
    {
        candidates.resize(largest);
        count = MASKLINE_FASTEST(collect)(level, anchors, lowest, candidates.data(), largest);
    }
    candidates.resize(count);
    if (count > 4 * top)
    {
        std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(top), candidates.end());
        candidates.resize(top);
    }
    Candidates scratch;
    sortCandidates(candidates, scratch);
    candidates.resize(std::min(candidates.size(), top));
    return candidates;
}

std::size_t decodeGeneric(ProposalLevel const& level, Box const* corners, std::int32_t anchors,
    std::uint64_t const* candidates, std::size_t count, float imageHeight, float imageWidth, float minSide,
    float* const* columns, std::uint32_t* keys)
{
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; ++i)
    {
        auto const flat = static_cast<std::int32_t>(candidates[i] & 0xffffffffU);
        Box const box = proposalAt(level, corners, anchors, flat, imageHeight, imageWidth);
        if (isLargeEnough(box, minSide, imageHeight, imageWidth))
        {
            float const values[] = {box.x0, box.y0, box.x1, box.y1, areaOf(box)};
            for (std::size_t column = 0; column < 5; ++column)
            {
                columns[column][left] = values[column];
            }
            keys[left++] = static_cast<std::uint32_t>(candidates[i] >> 32);
        }
    }
    return left;
}

std::size_t decode(ProposalLevel const& level, Box const* corners, std::int32_t anchors, Candidates const& candidates,
    float imageHeight, float imageWidth, float minSide, LevelResult& result)
{
    BoxColumns& boxes = result.boxes;
    boxes.resize(candidates.size());
    result.keys.resize(candidates.size() + BoxColumns::kVECTOR);
    float* const columns[] = {boxes.x0(), boxes.y0(), boxes.x1(), boxes.y1(), boxes.area()};
    return MASKLINE_FASTEST(decode)(level, corners, anchors, candidates.data(), candidates.size(), imageHeight,
        imageWidth, minSide, columns, result.keys.data());
}

LevelResult runLevel(ProposalNMSAttributes const& attributes, Corners const& allCorners, ProposalNMSShape const& shape,
    ProposalNMSHostBuffers const& buffers, std::int64_t image, std::int32_t levelIndex)
{
    auto const i = static_cast<std::size_t>(levelIndex);
    std::int64_t const cells = static_cast<std::int64_t>(shape.heights[i]) * shape.widths[i];
    std::int32_t const anchors = attributes.anchors();
    LevelResult result;
    if (cells == 0)
    {
        return result;
    }
    ProposalLevel const level{buffers.logits[i] + image * anchors * cells,
        buffers.deltas[i] + image * 4 * anchors * cells, shape.heights[i], shape.widths[i],
        static_cast<float>(attributes.strides[i]), attributes.anchorCentreOffset};
    Box const* const corners = allCorners.data() + i * static_cast<std::size_t>(anchors);
    float const* const info = buffers.imageInfo + 6 * image;
    auto const top = static_cast<std::size_t>(attributes.preNmsPerLevel);
    Candidates const candidates = bestOfLevel(level, anchors, top);
    std::size_t const left = decode(level, corners, anchors, candidates, info[0], info[1], attributes.minSide, result);
    BoxColumns scratch;
    // The joint choice takes no more than R of one level.
    greedyNms(result.boxes, left, attributes.nmsThresh, static_cast<std::size_t>(attributes.maxProposals), scratch,
        result.kept);
    return result;
}

//! The best R of the levels of an image; ties: the lower level. Returns how many there are.
std::int32_t joinLevels(std::vector<LevelResult> const& results, std::size_t first, std::size_t levels,
    std::int32_t limit, float* proposals)
{
    std::vector<std::size_t> next(levels, 0);
    std::int32_t count = 0;
    for (; count < limit; ++count)
    {
        std::size_t best = levels;
        std::uint32_t bestKey = kNAN_KEY;
        for (std::size_t level = 0; level < levels; ++level)
        {
            LevelResult const& result = results[first + level];
            if (next[level] < result.kept.size() && result.keys[result.kept[next[level]]] < bestKey)
            {
                best = level;
                bestKey = result.keys[result.kept[next[level]]];
            }
        }
        if (best == levels)
        {
            break;
        }
        LevelResult const& result = results[first + best];
        Box const box = result.boxes.box(result.kept[next[best]++]);
        std::copy_n(&box.x0, 4, proposals + 4 * static_cast<std::ptrdiff_t>(count));
    }
    std::fill_n(
        proposals + 4 * static_cast<std::ptrdiff_t>(count), 4 * static_cast<std::ptrdiff_t>(limit - count), 0.F);
    return count;
}

} // namespace

void proposalNMSHost(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape,
    ProposalNMSHostBuffers const& buffers, int threads)
{
    auto const levels = static_cast<std::size_t>(shape.levels);
    Corners const corners = cornersOf(attributes);
    std::vector<LevelResult> results(static_cast<std::size_t>(shape.batch) * levels);
    parallelFor(
        static_cast<std::int64_t>(results.size()), 1, threadCount(threads), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
        {
            results[static_cast<std::size_t>(i)] = runLevel(
                attributes, corners, shape, buffers, i / shape.levels, static_cast<std::int32_t>(i % shape.levels));
        }
    });
    for (std::int64_t image = 0; image < shape.batch; ++image)
    {
        std::int64_t const rows = attributes.maxProposals;
        buffers.numProposals[image] = joinLevels(results, static_cast<std::size_t>(image) * levels, levels,
            attributes.maxProposals, buffers.proposals + 4 * image * rows);
    }
}

} // namespace maskline
