#include "proposal_nms/ort_op.h"

#include "proposal_nms/host/op.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace maskline
{

ProposalNMSAttributes ProposalNMSHostOp::example()
{
    ProposalNMSAttributes attributes;
    attributes.strides = {4};
    attributes.anchorSizes = {32.F};
    attributes.aspectRatios = {1.F};
    return attributes;
}

void ProposalNMSHostOp::compute(Attributes const& attributes, HostCall const& call)
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
