// ProposalNMS through the C interface: logits and deltas of any value, anchors and sizes that lie.

#include "common/status.h"
#include "proposal_nms/c_config.h"
#include "testing/fuzz/choices.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

extern "C" int maskline_host_proposal_nms(MasklineProposalNMS const* config, float const* imageInfo,
    float const* const* logits, float const* const* deltas, float* proposals, std::int32_t* numProposals, int threads);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    using namespace maskline::fuzz;
    FuzzedDataProvider choices(data, size);
    auto config = maskline::makeConfig<MasklineProposalNMS>();
    constexpr std::size_t kROOM = 128; // what the struct's own rules allow
    std::vector<std::int32_t> heights(8), widths(8), strides(8);
    for (std::size_t level = 0; level < 8; ++level)
    {
        heights[level] = number(choices, 0, 12);
        widths[level] = number(choices, 0, 12);
        strides[level] = number(choices, 1, 64);
    }
    auto const sizes = values(choices, kROOM);
    auto const ratios = values(choices, kROOM);
    bool const is_good = choices.ConsumeIntegralInRange(0, 3) != 1;
    for (std::size_t i = 0; is_good && i < kROOM; ++i)
    {
        sizes[i] = 8.F * static_cast<float>(i + 1);
        ratios[i] = 0.5F * static_cast<float>(i + 1);
    }
    config.batch = number(choices, 0, 2);
    config.levels = number(choices, 1, 4);
    config.numSizes = number(choices, 1, 4);
    config.numSizes
        *= choices.ConsumeBool() && config.levels > 0 && config.levels < 9 && config.numSizes < 9 ? config.levels : 1;
    config.numRatios = number(choices, 1, 3);
    config.anchorRounded = number(choices, 0, 1);
    config.preNmsPerLevel = number(choices, 1, 100);
    config.maxProposals = number(choices, 1, 100);
    config.anchorCentreOffset = choices.ConsumeBool() ? 0.F : value(choices);
    config.nmsThresh = choices.ConsumeBool() ? 0.7F : value(choices);
    config.minSide = choices.ConsumeBool() ? 0.F : value(choices);
    config.heights = heights.data();
    config.widths = widths.data();
    config.strides = strides.data();
    config.anchorSizes = sizes.get();
    config.aspectRatios = ratios.get();
    maskline::ProposalNMSAttributes attributes;
    maskline::ProposalNMSShape shape;
    if (!maskline::read(config, attributes, shape).empty())
    {
        return 0;
    }
    auto const anchors = static_cast<std::size_t>(attributes.anchors());
    auto const batch = static_cast<std::size_t>(config.batch);
    if (!isSmall({config.batch, config.maxProposals, 4}))
    {
        return 0;
    }
    std::vector<std::unique_ptr<float[]>> arrays;
    std::vector<float const*> logits, deltas;
    for (std::size_t level = 0; level < static_cast<std::size_t>(config.levels); ++level)
    {
        if (!isSmall({config.batch, attributes.anchors() * 4, heights[level], widths[level]}))
        {
            return 0;
        }
        std::size_t const cells
            = batch * anchors * static_cast<std::size_t>(heights[level]) * static_cast<std::size_t>(widths[level]);
        arrays.push_back(values(choices, cells));
        logits.push_back(arrays.back().get());
        arrays.push_back(values(choices, 4 * cells));
        deltas.push_back(arrays.back().get());
    }
    auto const info = values(choices, batch * 6);
    auto const most = static_cast<std::size_t>(config.maxProposals);
    auto const proposals = std::make_unique<float[]>(batch * most * 4);
    auto const found = std::make_unique<std::int32_t[]>(batch);
    int const status = maskline_host_proposal_nms(
        &config, info.get(), logits.data(), deltas.data(), proposals.get(), found.get(), 1);
    require(status != maskline::kINTERNAL_ERROR, maskline::lastError());
    for (std::size_t image = 0; status == maskline::kSUCCESS && image < batch; ++image)
    {
        require(found[image] >= 0 && found[image] <= config.maxProposals, "a count outside 0..R");
    }
    return 0;
}
