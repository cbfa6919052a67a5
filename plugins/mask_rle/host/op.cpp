#include "mask_rle/host/op.h"

#include "common/host/parallel.h"
#include "mask_rle/host/edges.h"
#include "mask_rle/host/pasted_mask.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

namespace maskline
{
namespace mask_rle
{
namespace
{

// Columns of pixels in the boxes that are worth another thread: about 0.4 ms of work. Starting one costs some ten
// microseconds on an idle machine and much more on one that serves.
constexpr double kCOLUMNS_A_THREAD = 40000;

//! Texts, one after the other, in a buffer that grows.
class Texts
{
public:
    void append(PastedMask const& pasted)
    {
        std::int32_t number = 0;
        walkEdges(pasted, [&](std::int32_t const* edges, std::int32_t count) {
            char* text = room(count);
            for (; number < kPLAIN_COUNTS && count > 0; ++number, ++edges, --count)
            {
                text = writeNumber(edges[0] - edges[-1], text);
            }
            mLength = mWrite(edges, count, text) - mBuffer.data();
        });
    }

    std::int64_t length() const
    {
        return mLength;
    }

    char const* data() const
    {
        return mBuffer.data();
    }

private:
    // The first counts of a mask are written as they are, the others as differences.
    static constexpr std::int32_t kPLAIN_COUNTS = 3;

    //! Where the text of `count` more counts may go.
    char* room(std::int32_t count)
    {
        auto const wanted = static_cast<std::size_t>(mLength) + kMAX_CHARACTERS * count;
        if (wanted > mBuffer.size())
        {
            mBuffer.resize(2 * wanted);
        }
        return mBuffer.data() + mLength;
    }

    WriteText mWrite{writeText()};
    std::vector<char> mBuffer;
    std::int64_t mLength{0};
};

//! Counts of one mask, as far as there is room.
//!
//! @return how many there are.
std::int32_t writeCounts(PastedMask const& pasted, std::int32_t* counts, std::int32_t capacity)
{
    std::int32_t number = 0;
    walkEdges(pasted, [&](std::int32_t const* edges, std::int32_t count) {
        for (std::int32_t i = 0; i < count; ++i, ++number)
        {
            if (number < capacity)
            {
                counts[number] = edges[i] - edges[i - 1];
            }
        }
    });
    return number;
}

//! How many of the threads that the caller allows pay for themselves.
int threadsFor(PlacedMasks const& placed, int most)
{
    double columns = 0;
    for (std::int64_t i = 0; i < placed.number; ++i)
    {
        double const width = placed.boxes[4 * i + 2] - placed.boxes[4 * i];
        columns += width > 0 ? std::min(width, static_cast<double>(placed.sizes[2 * i + 1])) : 0.0;
    }
    return static_cast<int>(std::min<double>(threadCount(most), 1 + std::floor(columns / kCOLUMNS_A_THREAD)));
}

//! The answer of one slot; `size` 0 x 0 leaves it empty.
void encodeSlot(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskRLEArrays const& arrays,
    std::int64_t slot, PastedMask& pasted)
{
    auto const image = slot / shape.detections;
    bool const isDetection = slot % shape.detections < arrays.numDetections[image];
    float const* info = arrays.imageInfo + image * 6;
    float const* canvas = arrays.boxes + slot * 4;
    float* box = arrays.imageBoxes + slot * 4;
    auto* counts = arrays.counts + slot * attributes.maxCounts;
    auto const size = makeImageSize(info[4], info[5]);
    std::fill_n(counts, attributes.maxCounts, 0);
    std::fill_n(box, 4, 0.0F);
    arrays.numCounts[slot] = 0;
    if (!isDetection || size.height == 0)
    {
        return;
    }
    for (int side = 0; side < 4; ++side)
    {
        box[side] = imageCoordinate(canvas[side], info[1 - side % 2], info[5 - side % 2]);
    }
    paste(arrays.masks + slot * shape.side * shape.side, shape.side, box, size, attributes.paste, pasted);
    auto const number = writeCounts(pasted, counts, attributes.maxCounts);
    bool const fits = number <= attributes.maxCounts;
    std::fill_n(counts, fits ? 0 : attributes.maxCounts, 0);
    arrays.numCounts[slot] = fits ? number : -number;
}

} // namespace
} // namespace mask_rle

using namespace mask_rle;

std::string PlacedMasks::check() const
{
    if (number < 0)
    {
        return "masks: got " + std::to_string(number) + " of them, expected 0 or more";
    }
    if (paste != 0 && paste != 1)
    {
        return "paste: got " + std::to_string(paste) + ", expected 0 (aligned) or 1 (detectron)";
    }
    for (std::int64_t i = 0; i < number; ++i)
    {
        if (makeImageSize(sizes[2 * i], sizes[2 * i + 1]).height == 0)
        {
            return "sizes: got " + std::to_string(sizes[2 * i]) + " x " + std::to_string(sizes[2 * i + 1])
                + " for mask " + std::to_string(i) + ", expected 1 to 2147483647 pixels";
        }
    }
    return MaskRLEShape{0, 0, side}.check();
}

void encodeMasks(PlacedMasks const& placed, int threads, char* text, std::int64_t capacity, std::int64_t* offsets)
{
    threads = threadsFor(placed, threads);
    auto const grain = ceilDivide<std::int64_t>(placed.number, 4 * threads);
    std::vector<Texts> parts(static_cast<std::size_t>(ceilDivide(placed.number, std::max<std::int64_t>(grain, 1))));
    parallelFor(placed.number, grain, threads, [&](std::int64_t begin, std::int64_t end) {
        auto const pasted = std::make_unique<PastedMask>();
        auto& part = parts[static_cast<std::size_t>(begin / grain)];
        for (auto i = begin; i < end; ++i)
        {
            paste(placed.masks + i * placed.side * placed.side, placed.side, placed.boxes + 4 * i,
                ImageSize{placed.sizes[2 * i], placed.sizes[2 * i + 1]}, static_cast<PasteRule>(placed.paste), *pasted);
            auto const before = part.length();
            part.append(*pasted);
            offsets[i + 1] = part.length() - before;
        }
    });
    offsets[0] = 0;
    for (std::int64_t i = 0; i < placed.number; ++i)
    {
        offsets[i + 1] += offsets[i];
    }
    if (offsets[placed.number] > capacity)
    {
        return;
    }
    for (auto const& part : parts)
    {
        text = std::copy_n(part.data(), part.length(), text);
    }
}

void maskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskRLEArrays const& arrays, int threads)
{
    auto const slots = static_cast<std::int64_t>(shape.images) * shape.detections;
    parallelFor(slots, 8, threadCount(threads), [&](std::int64_t begin, std::int64_t end) {
        auto const pasted = std::make_unique<PastedMask>();
        for (auto slot = begin; slot < end; ++slot)
        {
            encodeSlot(attributes, shape, arrays, slot, *pasted);
        }
    });
}

} // namespace maskline
