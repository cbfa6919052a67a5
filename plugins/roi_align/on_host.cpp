#include "roi_align/on_host.h"

#include "roi_align/host/op.h"

namespace maskline
{

void RoIAlignOnHost::run(Attributes const& given, Call const& call)
{
    multiscaleRoIAlign(
        {given.attributes(), shapeOf(given, call), call.inputs + 1, call.input<float>(0), call.output<void>(0)}, 0);
}

} // namespace maskline
