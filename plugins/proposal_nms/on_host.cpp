#include "proposal_nms/on_host.h"

#include "proposal_nms/host/op.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{

void ProposalNMSOnHost::run(Attributes const& attributes, Call const& call)
{
    Levels const levels = levelsOf(attributes, call);
    proposalNMSHost(attributes, shapeOf(attributes, call.shapes),
        {call.input<float>(0), levels.logits.data(), levels.deltas.data(), call.output<float>(0),
            call.output<std::int32_t>(1)},
        0);
}

} // namespace maskline
