// ClasswiseNMS through the C interface: logits, deltas and proposals of any value, sizes that lie.

#include "classwise_nms/c_config.h"
#include "common/status.h"
#include "testing/fuzz/choices.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

extern "C" int maskline_host_classwise_nms(MasklineClasswiseNMS const* config, float const* classLogits,
    float const* boxDeltas, float const* proposals, std::int32_t const* numProposals, float const* imageInfo,
    float* boxes, float* scores, std::int32_t* labels, std::int32_t* numDetections, int threads);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    using namespace maskline::fuzz;
    FuzzedDataProvider choices(data, size);
    auto config = maskline::makeConfig<MasklineClasswiseNMS>();
    config.batch = number(choices, 0, 2);
    config.proposals = number(choices, 0, 40);
    config.numClasses = number(choices, 1, 20);
    config.maxDetections = number(choices, 1, 30);
    config.scoreThresh = choices.ConsumeBool() ? 0.05F : value(choices);
    config.nmsThresh = choices.ConsumeBool() ? 0.5F : value(choices);
    config.minSide = choices.ConsumeBool() ? 0.F : value(choices);
    for (float& weight : config.deltaWeights)
    {
        weight = choices.ConsumeIntegralInRange(0, 15) == 1 ? value(choices) : 10.F;
    }
    maskline::ClasswiseNMSAttributes attributes;
    maskline::ClasswiseNMSShape shape;
    bool const is_refused = !maskline::read(config, attributes, shape).empty();
    if (is_refused || !isSmall({config.batch, config.proposals, 4, config.numClasses + 1})
        || !isSmall({config.batch, config.maxDetections, 4}))
    {
        return 0;
    }
    auto const batch = static_cast<std::size_t>(config.batch);
    auto const rows = batch * static_cast<std::size_t>(config.proposals);
    auto const classes = static_cast<std::size_t>(config.numClasses);
    auto const most = batch * static_cast<std::size_t>(config.maxDetections);
    auto const logits = values(choices, rows * (classes + 1));
    auto const deltas = values(choices, rows * 4 * classes);
    auto const proposals = values(choices, rows * 4);
    auto const info = values(choices, batch * 6);
    auto const counts = std::make_unique<std::int32_t[]>(batch);
    std::for_each(counts.get(), counts.get() + batch, [&](std::int32_t& each) { each = number(choices, 0, 40); });
    auto const boxes = std::make_unique<float[]>(most * 4);
    auto const scores = std::make_unique<float[]>(most);
    auto const labels = std::make_unique<std::int32_t[]>(most);
    auto const found = std::make_unique<std::int32_t[]>(batch);
    int const status = maskline_host_classwise_nms(&config, logits.get(), deltas.get(), proposals.get(), counts.get(),
        info.get(), boxes.get(), scores.get(), labels.get(), found.get(), 1);
    require(status != maskline::kINTERNAL_ERROR, maskline::lastError());
    for (std::size_t i = 0; status == maskline::kSUCCESS && i < most; ++i)
    {
        bool const is_kept = i % static_cast<std::size_t>(config.maxDetections)
            < static_cast<std::size_t>(found[i / static_cast<std::size_t>(config.maxDetections)]);
        require(is_kept ? labels[i] >= 0 && labels[i] < config.numClasses : labels[i] == -1, "a label of no class");
    }
    return 0;
}
