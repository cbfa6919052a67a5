#include "proposal_nms/on_device.h"

#include "proposal_nms/device/kernel.h"

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
    Levels const levels = levelsOf(attributes, call);
    ProposalNMSBuffers const buffers{call.input<float>(0), levels.logits.data(), levels.deltas.data(),
        call.output<float>(0), call.output<std::int32_t>(1)};
    return launchProposalNMS(attributes, shapeOf(attributes, call.shapes), buffers, call.workspace, call.stream);
}

} // namespace maskline
