#include "proposal_nms/on_device.h"

#include "proposal_nms/device/kernel.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

std::size_t ProposalNMSOnDevice::workspaceBytes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return proposalNMSWorkspaceBytes(attributes, shapeOf(attributes, inputs));
}

cudaError_t ProposalNMSOnDevice::launch(Attributes const& attributes, DeviceCall const& call)
{
    std::array<float const*, Attributes::kMAX_LEVELS> logits{};
    std::array<float const*, Attributes::kMAX_LEVELS> deltas{};
    std::size_t const levels = attributes.strides.size();
    for (std::size_t level = 0; level < levels; ++level)
    {
        logits[level] = call.input<float>(1 + level);
        deltas[level] = call.input<float>(1 + levels + level);
    }
    ProposalNMSBuffers const buffers{
        call.input<float>(0), logits.data(), deltas.data(), call.output<float>(0), call.output<std::int32_t>(1)};
    return launchProposalNMS(attributes, shapeOf(attributes, call.shapes), buffers, call.workspace, call.stream);
}

} // namespace maskline
