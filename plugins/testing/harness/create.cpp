#include "testing/harness/create.h"

#include "testing/harness/played/expressions.h"
#include "testing/harness/played/plugin_library.h"
#include "testing/harness/played/tensors.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <dlfcn.h>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace harness
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::TensorFormat;

PluginTensorDesc parseTensor(std::string const& text)
{
    static std::map<std::string, std::pair<DataType, TensorFormat>> const types{
        {"float", {DataType::kFLOAT, TensorFormat::kLINEAR}}, {"half", {DataType::kHALF, TensorFormat::kLINEAR}},
        {"bf16", {DataType::kBF16, TensorFormat::kLINEAR}}, {"int32", {DataType::kINT32, TensorFormat::kLINEAR}},
        {"half-hwc8", {DataType::kHALF, TensorFormat::kHWC8}}, {"bf16-hwc8", {DataType::kBF16, TensorFormat::kHWC8}}};
    auto const colon = text.find(':');
    auto const found = types.find(text.substr(0, colon));
    if (colon == std::string::npos || found == types.end())
    {
        throw std::invalid_argument("input \"" + text
            + "\": expected TYPE:SHAPE with a type of float, half, bf16, int32, half-hwc8 or bf16-hwc8");
    }
    std::vector<std::int64_t> lengths;
    std::istringstream parts(text.substr(colon + 1));
    for (std::string part; std::getline(parts, part, 'x');)
    {
        lengths.push_back(std::stoll(part));
    }
    return makeDesc(makeDims(lengths), found->second.first, found->second.second);
}

//! The descriptions of the outputs, from what the plugin says of their types and shapes; empty when it refuses.
std::vector<PluginTensorDesc> outputsOf(nvinfer1::IPluginV3& plugin, std::vector<PluginTensorDesc> const& inputs)
{
    ExpressionBuilder builder;
    std::vector<DimsExprs> shapes;
    std::vector<DataType> types;
    for (auto const& input : inputs)
    {
        DimsExprs shape{input.dims.nbDims, {}};
        for (std::int32_t axis = 0; axis < shape.nbDims; ++axis)
        {
            shape.d[axis] = builder.fixed(input.dims.d[axis]);
        }
        shapes.push_back(shape);
        types.push_back(input.type);
    }
    auto const numInputs = static_cast<std::int32_t>(inputs.size());
    std::int32_t const numOutputs = build(plugin).getNbOutputs();
    std::vector<DimsExprs> outputs(static_cast<std::size_t>(numOutputs));
    std::vector<DataType> outputTypes(outputs.size());
    if (build(plugin).getOutputShapes(shapes.data(), numInputs, nullptr, 0, outputs.data(), numOutputs, builder) != 0
        || build(plugin).getOutputDataTypes(outputTypes.data(), numOutputs, types.data(), numInputs) != 0)
    {
        return {};
    }
    std::vector<PluginTensorDesc> descs;
    for (std::size_t i = 0; i < outputs.size(); ++i)
    {
        std::vector<std::int64_t> lengths;
        for (std::int32_t axis = 0; axis < outputs[i].nbDims; ++axis)
        {
            lengths.push_back(read(outputs[i].d[axis]).value());
        }
        descs.push_back(makeDesc(makeDims(lengths), outputTypes[i], TensorFormat::kLINEAR));
        for (auto const& input : inputs)
        {
            bool const packed = input.format == TensorFormat::kHWC8 && input.type == outputTypes[i];
            descs.back().format = packed ? TensorFormat::kHWC8 : descs.back().format;
        }
    }
    return descs;
}

bool takes(nvinfer1::IPluginV3& plugin, std::vector<PluginTensorDesc> const& inputs)
{
    auto const outputs = outputsOf(plugin, inputs);
    if (outputs.empty())
    {
        return false;
    }
    for (auto const& output : outputs)
    {
        std::printf("output: %s\n", describe(output).c_str());
    }
    return runtime(plugin).onShapeChange(inputs.data(), static_cast<std::int32_t>(inputs.size()), outputs.data(),
               static_cast<std::int32_t>(outputs.size()))
        == 0;
}

} // namespace

int create(CreateRequest request)
{
    PluginLibrary library(request.library);
    if (!request.nvinfer.empty())
    {
        if (dlopen(request.nvinfer.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
        {
            throw std::runtime_error(std::string("cannot open: ") + dlerror());
        }
        library.logger().hide();
    }
    PluginPtr const plugin(library.creator(request.op)
            .createPlugin("command line", request.fields.collection(), nvinfer1::TensorRTPhase::kBUILD));
    bool good = plugin != nullptr;
    if (good)
    {
        std::printf("attributes: %s\n", build(*plugin).getTimingCacheID());
    }
    if (good && !request.inputs.empty())
    {
        std::vector<PluginTensorDesc> inputs;
        for (auto const& input : request.inputs)
        {
            inputs.push_back(parseTensor(input));
        }
        good = takes(*plugin, inputs);
    }
    for (auto const& line : library.logger().takeWarnings())
    {
        std::printf("log: %s\n", line.c_str());
    }
    return good ? 0 : 1;
}

} // namespace harness
