#include "mask_rle/node.h"

#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

Signature MaskRLENode::signature(Attributes const& attributes)
{
    return {kNAME,
        {{"masks", TensorKind::kREAL, {'B', 'D', 'M', 'M'}}, {"boxes", TensorKind::kFLOAT32, {'B', 'D', 4}},
            {"num_detections", TensorKind::kINT32, {'B', 1}}, {"image_info", TensorKind::kFLOAT32, {'B', 6}}},
        {{"counts", TensorKind::kINT32, {'B', 'D', attributes.maxCounts}},
            {"num_counts", TensorKind::kINT32, {'B', 'D'}}, {"image_boxes", TensorKind::kFLOAT32, {'B', 'D', 4}}}};
}

std::string MaskRLEFields::check() const
{
    if (paste != kPASTE_NAMES[0] && paste != kPASTE_NAMES[1])
    {
        return "paste: got \"" + paste + "\", expected " + kPASTE_NAMES[0] + " or " + kPASTE_NAMES[1];
    }
    return attributes().check();
}

MaskRLEAttributes MaskRLEFields::attributes() const
{
    return {maxCounts, paste == kPASTE_NAMES[0] ? mask_rle::PasteRule::kALIGNED : mask_rle::PasteRule::kDETECTRON};
}

std::string MaskRLENode::checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return shapeOf(attributes, inputs).check();
}

MaskRLEShape MaskRLENode::shapeOf(Attributes const&, std::vector<Shape> const& inputs)
{
    Shape const& masks = inputs[0];
    return {
        static_cast<std::int32_t>(masks[0]), static_cast<std::int32_t>(masks[1]), static_cast<std::int32_t>(masks[2])};
}

} // namespace maskline
