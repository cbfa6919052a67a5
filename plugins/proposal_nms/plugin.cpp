#include "proposal_nms/plugin.h"

#include "proposal_nms/device/kernel.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

std::size_t ProposalNMSOp::workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs)
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
