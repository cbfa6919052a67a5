#include "proposal_nms/node.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline
{

ProposalNMSAttributes ProposalNMSNode::example()
{
    ProposalNMSAttributes attributes;
    attributes.strides = {4};
    attributes.anchorSizes = {32.F};
    attributes.aspectRatios = {1.F};
    return attributes;
}

Signature ProposalNMSNode::signature(Attributes const& attributes)
{
    std::vector<Tensor> inputs{{"image_info", TensorKind::kFLOAT32, {'B', 6}}};
    auto const addLevels = [&](std::string const& name, std::int32_t channels) {
        for (std::int32_t level = 0; level < attributes.levels(); ++level)
        {
            inputs.push_back(
                {name + " of stride " + std::to_string(attributes.strides[static_cast<std::size_t>(level)]),
                    TensorKind::kFLOAT32, {'B', channels, Dim::ofLevel('H', level), Dim::ofLevel('W', level)}});
        }
    };
    addLevels("logits", attributes.anchors());
    addLevels("deltas", 4 * attributes.anchors());
    return {kNAME, inputs,
        {{"proposals", TensorKind::kFLOAT32, {'B', attributes.maxProposals, 4}},
            {"num_proposals", TensorKind::kINT32, {'B'}}}};
}

std::string ProposalNMSNode::checkSizes(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    return shapeOf(attributes, inputs).check(attributes);
}

ProposalNMSNode::Levels ProposalNMSNode::levelsOf(Attributes const& attributes, Call const& call)
{
    Levels levels;
    std::size_t const number = attributes.strides.size();
    for (std::size_t level = 0; level < number; ++level)
    {
        levels.logits[level] = call.input<float>(1 + level);
        levels.deltas[level] = call.input<float>(1 + number + level);
    }
    return levels;
}

ProposalNMSShape ProposalNMSNode::shapeOf(Attributes const& attributes, std::vector<Shape> const& inputs)
{
    ProposalNMSShape shape;
    shape.batch = static_cast<std::int32_t>(inputs[0][0]);
    shape.levels = attributes.levels();
    for (std::size_t level = 0; level < attributes.strides.size(); ++level)
    {
        shape.heights[level] = static_cast<std::int32_t>(inputs[level + 1][2]);
        shape.widths[level] = static_cast<std::int32_t>(inputs[level + 1][3]);
    }
    return shape;
}

} // namespace maskline
