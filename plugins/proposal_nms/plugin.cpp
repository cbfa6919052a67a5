#include "proposal_nms/plugin.h"

#include "proposal_nms/device/kernel.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::Dims;

ProposalNMSShape shapeOf(ProposalNMSAttributes const& attributes, std::vector<Dims> const& inputs)
{
    ProposalNMSShape shape;
    shape.batch = static_cast<std::int32_t>(inputs[0].d[0]);
    shape.levels = attributes.levels();
    for (std::size_t level = 0; level < attributes.strides.size(); ++level)
    {
        shape.heights[level] = static_cast<std::int32_t>(inputs[level + 1].d[2]);
        shape.widths[level] = static_cast<std::int32_t>(inputs[level + 1].d[3]);
    }
    return shape;
}

} // namespace

Signature ProposalNMSOp::signature(Attributes const& attributes)
{
    std::vector<Tensor> inputs{{"image_info", TensorKind::kFLOAT32, {'B', 6}}};
    auto const addLevels = [&](std::string const& name, std::int32_t channels) {
        for (std::int32_t level = 0; level < attributes.levels(); ++level)
        {
            inputs.push_back(
                {name + " of stride " + std::to_string(attributes.strides[static_cast<std::size_t>(level)]),
                    TensorKind::kFLOAT32, {'B', channels, Dim::ofLevel('H', level), Dim::ofLevel('W', level)}});
        }
    };
    addLevels("logits", attributes.anchors());
    addLevels("deltas", 4 * attributes.anchors());
    return {kNAME, inputs,
        {{"proposals", TensorKind::kFLOAT32, {'B', attributes.maxProposals, 4}},
            {"num_proposals", TensorKind::kINT32, {'B'}}}};
}

std::string ProposalNMSOp::checkSizes(Attributes const& attributes, std::vector<Dims> const& inputs)
{
    return shapeOf(attributes, inputs).check(attributes);
}

std::size_t ProposalNMSOp::workspaceBytes(Attributes const& attributes, std::vector<Dims> const& inputs)
{
    return proposalNMSWorkspaceBytes(attributes, shapeOf(attributes, inputs));
}

cudaError_t ProposalNMSOp::launch(Attributes const& attributes, Launch const& launch)
{
    std::array<float const*, Attributes::kMAX_LEVELS> logits{};
    std::array<float const*, Attributes::kMAX_LEVELS> deltas{};
    std::int32_t const levels = attributes.levels();
    for (std::int32_t level = 0; level < levels; ++level)
    {
        logits[static_cast<std::size_t>(level)] = launch.input<float>(1 + level);
        deltas[static_cast<std::size_t>(level)] = launch.input<float>(1 + levels + level);
    }
    ProposalNMSBuffers const buffers{
        launch.input<float>(0), logits.data(), deltas.data(), launch.output<float>(0), launch.output<std::int32_t>(1)};
    return launchProposalNMS(attributes, shapeOf(attributes, launch.shapes), buffers, launch.workspace, launch.stream);
}

} // namespace maskline
