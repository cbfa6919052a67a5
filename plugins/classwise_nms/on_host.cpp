#include "classwise_nms/on_host.h"

#include "classwise_nms/host/op.h"

#include <cstdint>

namespace maskline
{

void ClasswiseNMSOnHost::run(Attributes const& attributes, Call const& call)
{
    classwiseNMSHost(attributes, shapeOf(attributes, call.shapes),
        {call.input<float>(0), call.input<float>(1), call.input<float>(2), call.input<std::int32_t>(3),
            call.input<float>(4), call.output<float>(0), call.output<float>(1), call.output<std::int32_t>(2),
            call.output<std::int32_t>(3)},
        0);
}

} // namespace maskline
