#include "mask_rle/c_config.h"
#include "testing/harness/cases/op_case.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int maskline_host_mask_rle(MasklineMaskRLE const* config, float const* masks, float const* boxes,
    std::int32_t const* numDetections, float const* imageInfo, std::int32_t* counts, std::int32_t* numCounts,
    float* imageBoxes, int threads);

namespace harness
{
namespace
{

constexpr std::int32_t kMAX_COUNTS = 96;

int runOnHost(
    Sizes const& sizes, PluginTensorDesc const& variant, std::vector<Bytes> const& inputs, std::vector<Bytes>& outputs)
{
    auto config = maskline::makeConfig<MasklineMaskRLE>();
    config.batch = static_cast<std::int32_t>(sizes.at("B"));
    config.detections = static_cast<std::int32_t>(sizes.at("D"));
    config.side = static_cast<std::int32_t>(sizes.at("M"));
    config.maxCounts = kMAX_COUNTS;
    auto const dims = makeDims({config.batch, config.detections, config.side, config.side});
    std::vector<float> masks;
    for (double const value : decode(inputs[0], makeDesc(dims, variant.type, variant.format)))
    {
        masks.push_back(static_cast<float>(value));
    }
    return maskline_host_mask_rle(&config, masks.data(), reinterpret_cast<float const*>(inputs[1].data()),
        reinterpret_cast<std::int32_t const*>(inputs[2].data()), reinterpret_cast<float const*>(inputs[3].data()),
        reinterpret_cast<std::int32_t*>(outputs[0].data()), reinterpret_cast<std::int32_t*>(outputs[1].data()),
        reinterpret_cast<float*>(outputs[2].data()), /* threads = */ 1);
}

//! Masks [count, M, M] of probabilities: discs, and one of noise, which has more runs than fit.
std::vector<double> makeMasks(std::int64_t count, std::int64_t side, Random& random)
{
    std::vector<double> values;
    for (std::int64_t i = 0; i < count; ++i)
    {
        double const radius = random.uniform(0.2, 0.8);
        for (std::int64_t y = 0; y < side; ++y)
        {
            for (std::int64_t x = 0; x < side; ++x)
            {
                double const dy = (static_cast<double>(y) + 0.5) / static_cast<double>(side) * 2.0 - 1.0;
                double const dx = (static_cast<double>(x) + 0.5) / static_cast<double>(side) * 2.0 - 1.0;
                double const noise = random.uniform(0.0, 1.0);
                double const disc = 0.5 + 1.2 * (radius - std::sqrt(dx * dx + dy * dy));
                values.push_back(i == 1 ? noise : disc);
            }
        }
    }
    return values;
}

} // namespace

OpCase maskRleCase()
{
    OpCase result;
    result.op = "MaskRLE";
    result.title = "discs and noise";
    result.fields.ints("max_counts", {kMAX_COUNTS});
    result.fields.text("paste", "aligned");
    result.inputs = {{"masks", Kind::kREAL, {"B", "D", "M", "M"}}, {"boxes", Kind::kFLOAT, {"B", "D", "4"}},
        {"num_detections", Kind::kINT, {"B", "1"}}, {"image_info", Kind::kFLOAT, {"B", "6"}}};
    result.outputs = {{"counts", Kind::kINT, {"B", "D", std::to_string(kMAX_COUNTS)}},
        {"num_counts", Kind::kINT, {"B", "D"}}, {"image_boxes", Kind::kFLOAT, {"B", "D", "4"}}};
    result.sizes = {{{"B", 2}, {"D", 5}, {"M", 14}}, {{"B", 1}, {"D", 1}, {"M", 7}}, {{"B", 2}, {"D", 0}, {"M", 14}},
        {{"B", 0}, {"D", 5}, {"M", 14}}};
    result.values = [](Sizes const& sizes, std::uint32_t seed) {
        Random random(seed);
        std::int64_t const images = sizes.at("B");
        std::int64_t const rows = images * sizes.at("D");
        std::vector<double> boxes;
        for (std::int64_t i = 0; i < rows; ++i)
        {
            double const x = random.uniform(-6.0, 40.0);
            double const y = random.uniform(-6.0, 40.0);
            for (double const value : {x, y, x + random.uniform(4.0, 60.0), y + random.uniform(4.0, 60.0)})
            {
                boxes.push_back(value);
            }
        }
        std::vector<double> counts;
        std::vector<double> info;
        for (std::int64_t i = 0; i < images; ++i)
        {
            counts.push_back(static_cast<double>(sizes.at("D") - (i > 0 ? 1 : 0)));
            for (double const value : {72.0, 64.0, 1.5, 1.6, 48.0, 40.0})
            {
                info.push_back(value);
            }
        }
        return std::vector<std::vector<double>>{makeMasks(rows, sizes.at("M"), random), boxes, counts, info};
    };
    result.expected = runOnHost;
    return result;
}

} // namespace harness
