#include "classwise_nms/c_config.h"
#include "proposal_nms/c_config.h"
#include "testing/harness/cases/op_case.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

extern "C" int maskline_host_proposal_nms(MasklineProposalNMS const* config, float const* imageInfo,
    float const* const* logits, float const* const* deltas, float* proposals, std::int32_t* numProposals, int threads);
extern "C" int maskline_host_classwise_nms(MasklineClasswiseNMS const* config, float const* classLogits,
    float const* boxDeltas, float const* proposals, std::int32_t const* numProposals, float const* imageInfo,
    float* boxes, float* scores, std::int32_t* labels, std::int32_t* numDetections, int threads);

namespace harness
{
namespace
{

constexpr double kCANVAS_PX = 128.0;
constexpr std::int32_t kLEVELS = 3;
constexpr std::int32_t kSIZES = 6; // two a level
constexpr std::int32_t kRATIOS = 3;
constexpr std::int32_t kSTRIDES[kLEVELS] = {8, 16, 32};
constexpr float kANCHOR_SIZES[kSIZES] = {16.F, 20.F, 32.F, 40.F, 64.F, 80.F};
constexpr float kASPECT_RATIOS[kRATIOS] = {0.5F, 1.F, 2.F};
constexpr std::int32_t kCLASSES = 5;

float const* floats(Bytes const& bytes)
{
    return reinterpret_cast<float const*>(bytes.data());
}

float* floats(Bytes& bytes)
{
    return reinterpret_cast<float*>(bytes.data());
}

std::int32_t* ints(Bytes& bytes)
{
    return reinterpret_cast<std::int32_t*>(bytes.data());
}

//! [B, 6]: images of several sizes inside the canvas, enlarged by two.
std::vector<double> makeImageInfo(std::int64_t images)
{
    std::vector<double> info;
    for (std::int64_t i = 0; i < images; ++i)
    {
        double const height = kCANVAS_PX - 16.0 * static_cast<double>(i % 3);
        double const width = kCANVAS_PX - 8.0 * static_cast<double>(i % 2);
        for (double const value : {height, width, 2.0, 2.0, height / 2.0, width / 2.0})
        {
            info.push_back(value);
        }
    }
    return info;
}

//! Scores in steps of 1/8, so that many are equal.
std::vector<double> makeLogits(std::int64_t count, Random& random)
{
    auto logits = random.uniform(count, -4.0, 4.0);
    for (auto& logit : logits)
    {
        logit = std::round(logit * 8.0) / 8.0;
    }
    return logits;
}

MasklineProposalNMS proposalConfig()
{
    auto config = maskline::makeConfig<MasklineProposalNMS>();
    config.levels = kLEVELS;
    config.numSizes = kSIZES;
    config.numRatios = kRATIOS;
    config.anchorRounded = 1;
    config.preNmsPerLevel = 60;
    config.maxProposals = 40;
    config.anchorCentreOffset = 0.5F;
    config.nmsThresh = 0.6F;
    config.minSide = 1.F;
    config.strides = kSTRIDES;
    config.anchorSizes = kANCHOR_SIZES;
    config.aspectRatios = kASPECT_RATIOS;
    return config;
}

int runProposals(
    Sizes const& sizes, PluginTensorDesc const&, std::vector<Bytes> const& inputs, std::vector<Bytes>& outputs)
{
    MasklineProposalNMS config = proposalConfig();
    std::int32_t heights[kLEVELS];
    std::int32_t widths[kLEVELS];
    float const* logits[kLEVELS];
    float const* deltas[kLEVELS];
    for (std::int32_t level = 0; level < kLEVELS; ++level)
    {
        heights[level] = static_cast<std::int32_t>(sizes.at("H" + std::to_string(level)));
        widths[level] = static_cast<std::int32_t>(sizes.at("W" + std::to_string(level)));
        logits[level] = floats(inputs[static_cast<std::size_t>(1 + level)]);
        deltas[level] = floats(inputs[static_cast<std::size_t>(1 + kLEVELS + level)]);
    }
    config.batch = static_cast<std::int32_t>(sizes.at("B"));
    config.heights = heights;
    config.widths = widths;
    return maskline_host_proposal_nms(
        &config, floats(inputs[0]), logits, deltas, floats(outputs[0]), ints(outputs[1]), /* threads = */ 1);
}

int runClasswise(
    Sizes const& sizes, PluginTensorDesc const&, std::vector<Bytes> const& inputs, std::vector<Bytes>& outputs)
{
    auto config = maskline::makeConfig<MasklineClasswiseNMS>();
    config.batch = static_cast<std::int32_t>(sizes.at("B"));
    config.proposals = static_cast<std::int32_t>(sizes.at("R"));
    config.numClasses = kCLASSES;
    config.maxDetections = 20;
    config.scoreThresh = 0.05F;
    config.nmsThresh = 0.5F;
    config.deltaWeights[0] = config.deltaWeights[1] = 10.F;
    config.deltaWeights[2] = config.deltaWeights[3] = 5.F;
    config.minSide = 1.F;
    auto const* const counts = reinterpret_cast<std::int32_t const*>(inputs[3].data());
    return maskline_host_classwise_nms(&config, floats(inputs[0]), floats(inputs[1]), floats(inputs[2]), counts,
        floats(inputs[4]), floats(outputs[0]), floats(outputs[1]), ints(outputs[2]), ints(outputs[3]),
        /* threads = */ 1);
}

} // namespace

OpCase proposalNmsCase()
{
    MasklineProposalNMS const config = proposalConfig();
    OpCase result;
    result.op = "ProposalNMS";
    result.title = "three levels";
    result.fields.ints("strides", {std::begin(kSTRIDES), std::end(kSTRIDES)})
        .floats("anchor_sizes", {std::begin(kANCHOR_SIZES), std::end(kANCHOR_SIZES)})
        .floats("aspect_ratios", {std::begin(kASPECT_RATIOS), std::end(kASPECT_RATIOS)})
        .ints("anchor_rounded", {config.anchorRounded})
        .floats("anchor_centre_offset", {config.anchorCentreOffset})
        .ints("pre_nms_per_level", {config.preNmsPerLevel})
        .ints("max_proposals", {config.maxProposals})
        .floats("nms_thresh", {config.nmsThresh})
        .floats("min_side", {config.minSide});
    result.inputs.push_back({"image_info", Kind::kFLOAT, {"B", "6"}});
    Sizes largest{{"B", 3}};
    for (std::string const name : {"logits", "deltas"})
    {
        for (std::int32_t level = 0; level < kLEVELS; ++level)
        {
            std::string const number = std::to_string(level);
            result.inputs.push_back({name + " of stride " + std::to_string(kSTRIDES[level]), Kind::kFLOAT,
                {"B", name == "logits" ? "6" : "24", "H" + number, "W" + number}});
            largest["H" + number] = static_cast<std::int64_t>(kCANVAS_PX) / kSTRIDES[level];
            largest["W" + number] = static_cast<std::int64_t>(kCANVAS_PX) / kSTRIDES[level];
        }
    }
    result.outputs = {{"proposals", Kind::kFLOAT, {"B", "40", "4"}}, {"num_proposals", Kind::kINT, {"B"}}};
    result.sizes.assign(3, largest);
    result.sizes[1]["B"] = 1;
    result.sizes[1]["W0"] = 5;
    result.sizes[2]["B"] = 0;
    result.values = [inputs = result.inputs](Sizes const& sizes, std::uint32_t seed) {
        Random random(seed);
        std::vector<std::vector<double>> values{makeImageInfo(sizes.at("B"))};
        for (std::size_t i = 1; i < inputs.size(); ++i)
        {
            std::int64_t const count = volume(shapeOf(inputs[i], sizes));
            values.push_back(i <= kLEVELS ? makeLogits(count, random) : random.uniform(count, -0.5, 0.5));
        }
        return values;
    };
    result.expected = runProposals;
    return result;
}

OpCase classwiseNmsCase()
{
    OpCase result;
    result.op = "ClasswiseNMS";
    result.title = "five classes";
    result.fields.ints("num_classes", {kCLASSES})
        .floats("score_thresh", {0.05F})
        .floats("nms_thresh", {0.5F})
        .ints("max_detections", {20})
        .floats("delta_weights", {10.F, 10.F, 5.F, 5.F})
        .floats("min_side", {1.F});
    result.inputs = {{"class_logits", Kind::kFLOAT, {"B*R", "6"}}, {"box_deltas", Kind::kFLOAT, {"B*R", "20"}},
        {"proposals", Kind::kFLOAT, {"B", "R", "4"}}, {"num_proposals", Kind::kINT, {"B"}},
        {"image_info", Kind::kFLOAT, {"B", "6"}}};
    result.outputs = {{"boxes", Kind::kFLOAT, {"B", "20", "4"}}, {"scores", Kind::kFLOAT, {"B", "20"}},
        {"labels", Kind::kINT, {"B", "20"}}, {"num_detections", Kind::kINT, {"B", "1"}}};
    result.sizes = {{{"B", 3}, {"R", 45}}, {{"B", 1}, {"R", 1}}, {{"B", 2}, {"R", 0}}, {{"B", 0}, {"R", 45}}};
    result.values = [](Sizes const& sizes, std::uint32_t seed) {
        Random random(seed);
        std::int64_t const rows = sizes.at("B") * sizes.at("R");
        std::vector<double> boxes;
        for (std::int64_t i = 0; i < rows; ++i)
        {
            double const x = random.uniform(0.0, 80.0);
            double const y = random.uniform(0.0, 80.0);
            for (double const value : {x, y, x + random.uniform(8.0, 60.0), y + random.uniform(8.0, 60.0)})
            {
                boxes.push_back(value);
            }
        }
        std::vector<double> counts;
        for (std::int64_t i = 0; i < sizes.at("B"); ++i)
        {
            counts.push_back(static_cast<double>(sizes.at("R") / (1 + i)));
        }
        return std::vector<std::vector<double>>{makeLogits(rows * (kCLASSES + 1), random),
            random.uniform(rows * 4 * kCLASSES, -2.0, 2.0), boxes, counts, makeImageInfo(sizes.at("B"))};
    };
    result.expected = runClasswise;
    return result;
}

} // namespace harness
