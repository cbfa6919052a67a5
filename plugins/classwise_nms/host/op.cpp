#include "classwise_nms/host/op.h"

#include "common/host/nms.h"
#include "common/host/parallel.h"
#include "common/host/simd.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace maskline
{
namespace
{

using Candidates = std::vector<std::uint64_t>;

std::size_t scoreRowGeneric(float const* logits, std::int32_t classes, float thresh, std::uint32_t firstIndex,
    float* terms, std::uint64_t* found)
{
    float maximum = -std::numeric_limits<float>::infinity();
    for (std::int32_t i = 0; i <= classes; ++i)
    {
        maximum = greatest(maximum, logits[i]);
    }
    std::array<float, kSOFTMAX_LANES> sums{};
    for (std::int32_t i = 0; i <= classes; ++i)
    {
        terms[i] = softmaxTerm(logits[i], maximum);
        sums[static_cast<std::size_t>(i % kSOFTMAX_LANES)] += terms[i];
    }
    for (std::size_t reach = kSOFTMAX_LANES / 2; reach > 0; reach /= 2)
    {
        for (std::size_t lane = 0; lane < reach; ++lane)
        {
            sums[lane] += sums[lane + reach];
        }
    }
    std::size_t count = 0;
    for (std::int32_t i = 0; i < classes; ++i)
    {
        float const score = terms[i] / sums[0];
        if (score > thresh)
        {
            found[count++] = candidateOf(bestFirstKey(score), firstIndex + static_cast<std::uint32_t>(i));
        }
    }
    return count;
}

bool isSuppressedGeneric(float const* const* kept, std::int32_t const* labels, std::size_t count, Box const& box,
    float area, std::int32_t label, float thresh)
{
    for (std::size_t k = 0; k < count; ++k)
    {
        Box const chosen{kept[0][k], kept[1][k], kept[2][k], kept[3][k]};
        if (labels[k] == label && overlaps(chosen, kept[4][k], box, area, thresh))
        {
            return true;
        }
    }
    return false;
}

//! Every (proposal, class) of an image whose score is above the threshold; index = proposal * K + class.
Candidates candidatesOf(float const* logits, std::int32_t rows, ClasswiseNMSAttributes const& attributes)
{
    constexpr std::size_t kSLACK = 17; // vectors are written whole
    auto const classes = static_cast<std::size_t>(attributes.numClasses);
    Candidates found;
    std::vector<float> terms(classes + kSLACK);
    std::size_t count = 0;
    for (std::int32_t row = 0; row < rows; ++row)
    {
        if (found.size() < count + classes + kSLACK)
        {
            found.resize(2 * found.size() + classes + kSLACK);
        }
        auto const index = static_cast<std::size_t>(row) * classes;
        count
            += MASKLINE_FASTEST(scoreRow)(logits + static_cast<std::size_t>(row) * (classes + 1), attributes.numClasses,
                attributes.scoreThresh, static_cast<std::uint32_t>(index), terms.data(), found.data() + count);
    }
    found.resize(count);
    return found;
}

//! The detections kept so far of one image, and the test of a new one against them.
class Kept
{
public:
    Kept(std::size_t limit, float thresh)
        : mLabels(limit + BoxColumns::kVECTOR)
        , mThresh(thresh)
    {
        mBoxes.resize(limit);
    }

    std::size_t count() const
    {
        return mCount;
    }

    //! Whether the box may stay; if so it is kept.
    bool offer(Box const& box, std::int32_t label)
    {
        float const area = areaOf(box);
        if (isSuppressed(box, area, label))
        {
            return false;
        }
        mBoxes.set(mCount, box);
        mLabels[mCount++] = label;
        return true;
    }

private:
    bool isSuppressed(Box const& box, float area, std::int32_t label)
    {
        float const* const columns[] = {mBoxes.x0(), mBoxes.y0(), mBoxes.x1(), mBoxes.y1(), mBoxes.area()};
        return MASKLINE_FASTEST(isSuppressed)(columns, mLabels.data(), mCount, box, area, label, mThresh);
    }

    BoxColumns mBoxes;
    std::vector<std::int32_t> mLabels;
    std::size_t mCount{0};
    float mThresh;
};

//! Where one image's inputs and outputs begin.
struct Image
{
    float const* logits;
    float const* deltas;
    float const* proposals;
    std::int32_t rows;
    float height;
    float width;
    float* boxes;
    float* scores;
    std::int32_t* labels;
};

//! Sorts further candidates, best first, so that [begin, end) is final. Only as many as are wanted need sorting.
void sortSome(Candidates& candidates, std::size_t begin, std::size_t end, Candidates& some, Candidates& scratch)
{
    auto const at = [&](std::size_t i) { return candidates.begin() + static_cast<std::ptrdiff_t>(i); };
    if (end < candidates.size())
    {
        std::nth_element(at(begin), at(end), candidates.end());
    }
    some.assign(at(begin), at(end));
    sortCandidates(some, scratch);
}

//! Walks the candidates of all classes from the best on: the first D that no kept one of their class overlaps are the
//! answer, in order. Returns how many there are.
std::size_t detect(Image const& image, ClasswiseNMSAttributes const& attributes)
{
    constexpr std::size_t kSTEP = 4096;
    auto const classes = static_cast<std::uint32_t>(attributes.numClasses);
    auto const limit = static_cast<std::size_t>(attributes.maxDetections);
    Candidates candidates = candidatesOf(image.logits, image.rows, attributes);
    Candidates some;
    Candidates scratch;
    Kept kept(std::min(limit, candidates.size()), attributes.nmsThresh);
    for (std::size_t begin = 0; begin < candidates.size() && kept.count() < limit; begin += kSTEP)
    {
        sortSome(candidates, begin, std::min(begin + kSTEP, candidates.size()), some, scratch);
        for (std::size_t i = 0; i < some.size() && kept.count() < limit; ++i)
        {
            auto const index = static_cast<std::uint32_t>(some[i] & 0xffffffffU);
            std::uint32_t const row = index / classes;
            auto const label = static_cast<std::int32_t>(index - row * classes);
            Box const box = detectionAt(image.proposals + 4 * static_cast<std::size_t>(row),
                image.deltas + 4 * static_cast<std::size_t>(index), attributes.deltaWeights.data(), image.height,
                image.width);
            if (isLargeEnough(box, attributes.minSide, image.height, image.width) && kept.offer(box, label))
            {
                std::size_t const slot = kept.count() - 1;
                std::copy_n(&box.x0, 4, image.boxes + 4 * slot);
                image.scores[slot] = valueOfKey(static_cast<std::uint32_t>(some[i] >> 32));
                image.labels[slot] = label;
            }
        }
    }
    return kept.count();
}

} // namespace

void classwiseNMSHost(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape,
    ClasswiseNMSHostBuffers const& buffers, int threads)
{
    auto const classes = static_cast<std::size_t>(attributes.numClasses);
    auto const detections = static_cast<std::size_t>(attributes.maxDetections);
    auto const proposals = static_cast<std::size_t>(shape.proposals);
    parallelFor(shape.batch, 1, threadCount(threads), [&](std::int64_t begin, std::int64_t end) {
        for (auto b = static_cast<std::size_t>(begin); b < static_cast<std::size_t>(end); ++b)
        {
            float const* const info = buffers.imageInfo + 6 * b;
            Image const image{buffers.classLogits + b * proposals * (classes + 1),
                buffers.boxDeltas + b * proposals * 4 * classes, buffers.proposals + b * proposals * 4,
                least(greatest(buffers.numProposals[b], 0), shape.proposals), info[0], info[1],
                buffers.boxes + b * detections * 4, buffers.scores + b * detections, buffers.labels + b * detections};
            std::size_t const count = detect(image, attributes);
            std::fill(image.boxes + 4 * count, image.boxes + 4 * detections, 0.F);
            std::fill(image.scores + count, image.scores + detections, 0.F);
            std::fill(image.labels + count, image.labels + detections, -1);
            buffers.numDetections[b] = static_cast<std::int32_t>(count);
        }
    });
}

} // namespace maskline
