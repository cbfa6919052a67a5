#include "mask_rle/on_host.h"

#include "common/host/elements.h"
#include "mask_rle/host/op.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

//! Masks of another type as float32.
template <typename Element>
std::vector<float> widened(Call const& call)
{
    auto const* const raw = call.input<typename Element::Raw>(0);
    std::vector<float> masks(static_cast<std::size_t>(volume(call.shapes[0])));
    std::transform(raw, raw + masks.size(), masks.begin(), Element::load);
    return masks;
}

std::vector<float> widened(Call const& call)
{
    switch (call.type)
    {
    case RealType::kFLOAT16: return widened<HalfElement>(call);
    case RealType::kBFLOAT16: return widened<BFloat16Element>(call);
    default: return {};
    }
}

} // namespace

void MaskRLEOnHost::run(Attributes const& attributes, Call const& call)
{
    auto const wide = widened(call);
    maskRLE(attributes.attributes(), shapeOf(attributes, call.shapes),
        {wide.empty() ? call.input<float>(0) : wide.data(), call.input<float>(1), call.input<std::int32_t>(2),
            call.input<float>(3), call.output<std::int32_t>(0), call.output<std::int32_t>(1), call.output<float>(2)},
        0);
}

} // namespace maskline
