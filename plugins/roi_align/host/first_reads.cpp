#include "roi_align/host/first_reads.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

//! Bytes from the beginning of the plane's first line to the plane.
std::int64_t phaseOf(char const* plane)
{
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(plane) % kROI_ALIGN_LINE);
}

std::int64_t planeBytes(RoIAlignCall const& call, std::int32_t level)
{
    return planeElements(call.shape, level) * elementBytes(call.shape);
}

//! From the first to the last cell that a box may read on an axis.
RoIAlignRange cellsOf(RoIAlignAxis const& axis, std::int32_t pooledSide)
{
    RoIAlignSample const first = sampleOf(axis, pooledSide, 0);
    RoIAlignSample const last = sampleOf(axis, pooledSide, pooledSide * axis.count - 1);
    std::int32_t const begin = axis.base < 0.0F ? 0 : axis.cells;           // where the first point is outside
    std::int32_t const end = axis.base + axis.side < 0.0F ? 0 : axis.cells; // where the last one is
    return {first.inside ? first.low : begin, last.inside ? last.high + 1 : end};
}

//! Which lines of an image's planes were read already.
class Seen
{
public:
    Seen(RoIAlignCall const& call, std::int32_t image)
        : mCall(&call)
        , mImage(image)
        , mLevels(static_cast<std::size_t>(call.attributes.numLevels))
    {}

    std::int32_t image() const
    {
        return mImage;
    }

    //! Adds the lines that a box is the first to read, in the order of their addresses.
    void add(RoIAlignPlace const& place, RoIAlignFirstReads& reads)
    {
        RoIAlignRange const rows = cellsOf(rowsOf(*mCall, place), mCall->attributes.pooledSide);
        RoIAlignRange const columns = cellsOf(columnsOf(*mCall, place), mCall->attributes.pooledSide);
        std::int64_t const phase = phaseOf(imageOf(*mCall, mImage, place.level));
        std::int64_t const width = mCall->shape.widths[place.level];
        auto& seen = mLevels[static_cast<std::size_t>(place.level)];
        seen.resize(static_cast<std::size_t>((phase + planeBytes(*mCall, place.level)) / kROI_ALIGN_LINE + 1));
        for (std::int64_t row = rows.begin; row < rows.end && columns.begin < columns.end; ++row)
        {
            std::int64_t const first = phase + (row * width + columns.begin) * elementBytes(mCall->shape);
            std::int64_t const last = phase + (row * width + columns.end) * elementBytes(mCall->shape) - 1;
            addLines(place.level, first / kROI_ALIGN_LINE, last / kROI_ALIGN_LINE, seen, reads);
        }
    }

private:
    static void addLines(std::int32_t level, std::int64_t first, std::int64_t last, std::vector<std::uint8_t>& seen,
        RoIAlignFirstReads& reads)
    {
        bool open = false;
        for (std::int64_t line = first; line <= last; ++line)
        {
            auto& before = seen[static_cast<std::size_t>(line)];
            if (before == 0 && !open)
            {
                reads.stretches.push_back({level, static_cast<std::int32_t>(line), 0});
            }
            open = before == 0;
            if (open)
            {
                ++reads.stretches.back().lines;
                ++reads.lines;
                before = 1;
            }
        }
    }

    RoIAlignCall const* mCall;
    std::int32_t mImage;
    std::vector<std::vector<std::uint8_t>> mLevels; //!< one number a line, empty where no box reads a level
};

} // namespace

std::vector<RoIAlignPlanes> planesOf(RoIAlignCall const& call, std::int32_t image)
{
    std::vector<RoIAlignPlanes> planes;
    for (std::int32_t level = 0; level < call.attributes.numLevels; ++level)
    {
        char const* const first = imageOf(call, image, level);
        planes.push_back({first - phaseOf(first), planeBytes(call, level)});
    }
    return planes;
}

void findFirstReads(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places,
    std::vector<RoIAlignBatch> const& batches, std::vector<RoIAlignFirstReads>& reads)
{
    Seen seen(call, -1);
    for (std::size_t batch = 0; batch < batches.size(); ++batch)
    {
        for (std::size_t i = batches[batch].begin; i < batches[batch].end; ++i)
        {
            if (places[i].image != seen.image())
            {
                seen = Seen(call, places[i].image);
            }
            seen.add(places[i], reads[batch]);
        }
    }
}

} // namespace maskline
