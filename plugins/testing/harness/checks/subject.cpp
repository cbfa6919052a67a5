#include "testing/harness/checks/checks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace harness
{

std::string Subject::logged()
{
    std::string text;
    for (auto const& line : library.logger().takeErrors())
    {
        text += (text.empty() ? "" : " | ") + line;
    }
    return text;
}

PluginPtr Subject::make(FieldSet fields, nvinfer1::TensorRTPhase phase)
{
    logged();
    PluginPtr plugin(library.creator(opCase.op).createPlugin("layer", fields.collection(), phase));
    require(plugin != nullptr, "createPlugin refused: " + logged());
    return plugin;
}

std::string Subject::refusal(FieldSet fields)
{
    logged();
    PluginPtr const plugin(
        library.creator(opCase.op).createPlugin("layer", fields.collection(), nvinfer1::TensorRTPhase::kBUILD));
    require(plugin == nullptr, "createPlugin accepted what it should refuse");
    return refusal(1);
}

std::string Subject::refusal(std::int32_t status)
{
    require(status != 0, "accepted what should be refused");
    auto const lines = library.logger().takeErrors();
    require(lines.size() == 1, "logged " + std::to_string(lines.size()) + " errors, expected one");
    require(lines[0].find(opCase.op) != std::string::npos, "the error does not name the op: " + lines[0]);
    require(lines[0].find("expected") != std::string::npos, "the error does not say what is expected: " + lines[0]);
    return lines[0];
}

std::vector<nvinfer1::DynamicPluginTensorDesc> profile(OpCase const& opCase, Variant variant)
{
    Sizes smallest = opCase.sizes[0];
    for (auto const& sizes : opCase.sizes)
    {
        for (auto& [letter, length] : smallest)
        {
            length = std::min(length, sizes.at(letter));
        }
    }
    auto const largest = describeAll(opCase, opCase.sizes[0], variant);
    auto const least = describeAll(opCase, smallest, variant);
    std::vector<nvinfer1::DynamicPluginTensorDesc> all;
    for (std::size_t i = 0; i < largest.size(); ++i)
    {
        nvinfer1::DynamicPluginTensorDesc dynamic{largest[i], least[i].dims, largest[i].dims, largest[i].dims};
        for (std::int32_t axis = 0; axis < dynamic.desc.dims.nbDims; ++axis)
        {
            bool const fixed = dynamic.min.d[axis] == dynamic.max.d[axis];
            dynamic.desc.dims.d[axis] = fixed ? dynamic.max.d[axis] : -1;
        }
        all.push_back(dynamic);
    }
    return all;
}

std::size_t workspaceBytes(nvinfer1::IPluginV3& plugin, OpCase const& opCase, Variant variant)
{
    auto const all = profile(opCase, variant);
    auto const inputs = static_cast<std::int32_t>(opCase.inputs.size());
    auto const outputs = static_cast<std::int32_t>(opCase.outputs.size());
    require(build(plugin).configurePlugin(all.data(), inputs, all.data() + inputs, outputs) == 0,
        "configurePlugin refused the profile");
    std::size_t const bytes = build(plugin).getWorkspaceSize(all.data(), inputs, all.data() + inputs, outputs);
    require(bytes != std::numeric_limits<std::size_t>::max(), "getWorkspaceSize refused the profile");
    return bytes;
}

} // namespace harness
