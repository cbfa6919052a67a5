#include "mask_rle/on_host.h"

#include "common/host/elements.h"
#include "mask_rle/host/op.h"
#include "mask_rle/math.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace
{

//! The whole numbers that the elements of masks stand for.
template <typename Element>
std::vector<std::uint8_t> levelsOf(void const* masks, std::int64_t count)
{
    auto const* const raw = static_cast<typename Element::Raw const*>(masks);
    std::vector<std::uint8_t> levels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < levels.size(); ++i)
    {
        levels[i] = static_cast<std::uint8_t>(mask_rle::levelOf(Element::load(raw[i])));
    }
    return levels;
}

std::vector<std::uint8_t> levelsOf(Call const& call)
{
    auto const count = volume(call.shapes[0]);
    switch (call.type)
    {
    case RealType::kFLOAT16: return levelsOf<HalfElement>(call.inputs[0], count);
    case RealType::kBFLOAT16: return levelsOf<BFloat16Element>(call.inputs[0], count);
    default: return levelsOf<Float32Element>(call.inputs[0], count);
    }
}

} // namespace

void MaskRLEOnHost::run(Attributes const& attributes, Call const& call)
{
    auto const levels = levelsOf(call);
    maskRLE(attributes, shapeOf(attributes, call.shapes),
        {levels.data(), call.input<float>(1), call.input<std::int32_t>(2), call.input<float>(3),
            call.output<std::int32_t>(0), call.output<std::int32_t>(1), call.output<float>(2)},
        0);
}

} // namespace maskline
