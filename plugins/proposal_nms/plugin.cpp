#include "proposal_nms/plugin.h"

#include "proposal_nms/device/kernel.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{
namespace
{

using nvinfer1::Dims;

Signature signature(ProposalNMSAttributes const& attributes)
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
    return {ProposalNMSPlugin::kNAME, inputs,
        {{"proposals", TensorKind::kFLOAT32, {'B', attributes.maxProposals, 4}},
            {"num_proposals", TensorKind::kINT32, {'B'}}}};
}

} // namespace

ProposalNMSPlugin::ProposalNMSPlugin(Attributes const& attributes)
    : PluginBase(signature(attributes))
    , mAttributes(attributes)
{
    visit(fields(), mAttributes);
}

ProposalNMSShape ProposalNMSPlugin::shapeOf(std::vector<Dims> const& inputs) const
{
    ProposalNMSShape shape;
    shape.batch = static_cast<std::int32_t>(inputs[0].d[0]);
    shape.levels = mAttributes.levels();
    for (std::size_t level = 0; level < mAttributes.strides.size(); ++level)
    {
        shape.heights[level] = static_cast<std::int32_t>(inputs[level + 1].d[2]);
        shape.widths[level] = static_cast<std::int32_t>(inputs[level + 1].d[3]);
    }
    return shape;
}

std::unique_ptr<PluginBase> ProposalNMSPlugin::copy() const
{
    return std::make_unique<ProposalNMSPlugin>(mAttributes);
}

std::string ProposalNMSPlugin::checkSizes(std::vector<Dims> const& inputs) const
{
    return shapeOf(inputs).check(mAttributes);
}

std::size_t ProposalNMSPlugin::workspaceBytes(std::vector<Dims> const& inputs) const
{
    return proposalNMSWorkspaceBytes(mAttributes, shapeOf(inputs));
}

cudaError_t ProposalNMSPlugin::launch(Launch const& launch) const
{
    std::array<float const*, Attributes::kMAX_LEVELS> logits{};
    std::array<float const*, Attributes::kMAX_LEVELS> deltas{};
    std::int32_t const levels = mAttributes.levels();
    for (std::int32_t level = 0; level < levels; ++level)
    {
        logits[static_cast<std::size_t>(level)] = launch.input<float>(1 + level);
        deltas[static_cast<std::size_t>(level)] = launch.input<float>(1 + levels + level);
    }
    ProposalNMSBuffers const buffers{
        launch.input<float>(0), logits.data(), deltas.data(), launch.output<float>(0), launch.output<std::int32_t>(1)};
    return launchProposalNMS(mAttributes, shapeOf(launch.shapes), buffers, launch.workspace, launch.stream);
}

} // namespace maskline
