#include "proposal_nms/on_host.h"

#include "proposal_nms/host/op.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace maskline
{

void ProposalNMSOnHost::run(Attributes const& attributes, Call const& call)
{
    std::array<float const*, Attributes::kMAX_LEVELS> logits{};
    std::array<float const*, Attributes::kMAX_LEVELS> deltas{};
    std::size_t const levels = attributes.strides.size();
    for (std::size_t level = 0; level < levels; ++level)
    {
        logits[level] = call.input<float>(1 + level);
        deltas[level] = call.input<float>(1 + levels + level);
    }
    proposalNMSHost(attributes, shapeOf(attributes, call.shapes),
        {call.input<float>(0), logits.data(), deltas.data(), call.output<float>(0), call.output<std::int32_t>(1)}, 0);
}

} // namespace maskline
