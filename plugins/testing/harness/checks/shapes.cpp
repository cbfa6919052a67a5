#include "testing/harness/checks/checks.h"
#include "testing/harness/played/expressions.h"

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace harness
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::DimsExprs;

bool isNumber(std::string const& dim)
{
    return std::isdigit(static_cast<unsigned char>(dim[0])) != 0;
}

//! Shapes of the inputs as TensorRT shows them while it builds: letters as symbols, or all known.
std::vector<DimsExprs> express(OpCase const& opCase, Sizes const& sizes, bool symbolic, ExpressionBuilder& builder)
{
    std::vector<DimsExprs> shapes;
    for (auto const& rule : opCase.inputs)
    {
        DimsExprs shape{static_cast<std::int32_t>(rule.dims.size()), {}};
        for (std::size_t axis = 0; axis < rule.dims.size(); ++axis)
        {
            std::int64_t const length = evaluate(rule.dims[axis], sizes);
            shape.d[axis] = symbolic && !isNumber(rule.dims[axis]) ? builder.symbol(rule.dims[axis], length)
                                                                   : builder.fixed(length);
        }
        shapes.push_back(shape);
    }
    return shapes;
}

std::string checkOutputShapes(Subject& subject, bool symbolic)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    std::string seen;
    for (auto const& sizes : opCase.sizes)
    {
        ExpressionBuilder builder;
        auto const inputs = express(opCase, sizes, symbolic, builder);
        std::vector<DimsExprs> outputs(opCase.outputs.size());
        std::int32_t const status
            = build(*plugin).getOutputShapes(inputs.data(), static_cast<std::int32_t>(inputs.size()), nullptr, 0,
                outputs.data(), static_cast<std::int32_t>(outputs.size()), builder);
        require(status == 0, "getOutputShapes failed: " + subject.logged());
        seen.clear();
        for (std::size_t i = 0; i < outputs.size(); ++i)
        {
            auto const expected = shapeOf(opCase.outputs[i], sizes);
            require(outputs[i].nbDims == expected.nbDims, opCase.outputs[i].name + " has another rank");
            seen += std::string(i == 0 ? "" : " ") + opCase.outputs[i].name + "[";
            for (std::int32_t axis = 0; axis < expected.nbDims; ++axis)
            {
                auto const& dim = read(outputs[i].d[axis]);
                require(dim.value() == expected.d[axis],
                    opCase.outputs[i].name + " dimension " + std::to_string(axis) + ": got " + dim.text() + " = "
                        + std::to_string(dim.value()) + ", expected " + std::to_string(expected.d[axis]));
                seen += (axis == 0 ? "" : ",") + dim.text();
            }
            seen += "]";
        }
        if (symbolic)
        {
            break; // the expressions are the same for all sizes
        }
    }
    return seen;
}

std::string checkOutputTypes(Subject& subject)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    auto const numInputs = opCase.inputs.size();
    std::string seen;
    for (auto const variant : variantsOf(opCase))
    {
        auto const all = describeAll(opCase, opCase.sizes[0], variant);
        std::vector<DataType> inputs;
        for (std::size_t i = 0; i < numInputs; ++i)
        {
            inputs.push_back(all[i].type);
        }
        std::vector<DataType> outputs(opCase.outputs.size());
        std::int32_t const status = build(*plugin).getOutputDataTypes(outputs.data(),
            static_cast<std::int32_t>(outputs.size()), inputs.data(), static_cast<std::int32_t>(numInputs));
        require(status == 0, "getOutputDataTypes failed: " + subject.logged());
        require(subject.library.logger().takeWarnings().empty(), "warns of types that are right");
        for (std::size_t i = 0; i < outputs.size(); ++i)
        {
            require(outputs[i] == all[numInputs + i].type, "output " + opCase.outputs[i].name + " has another type");
        }
        inputs[0] = DataType::kINT8;
        build(*plugin).getOutputDataTypes(outputs.data(), static_cast<std::int32_t>(outputs.size()), inputs.data(),
            static_cast<std::int32_t>(numInputs));
        require(subject.library.logger().takeWarnings().size() == 1, "does not warn of an INT8 input");
    }
    return std::to_string(opCase.outputs.size()) + " outputs";
}

//! Any shape within the profile needs no more than the profile's workspace.
std::string checkWorkspace(Subject& subject)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    auto const variant = variantsOf(opCase)[0];
    std::size_t const largest = workspaceBytes(*plugin, opCase, variant);
    for (auto const& sizes : opCase.sizes)
    {
        OpCase smaller = opCase;
        smaller.sizes = {sizes};
        std::size_t const bytes = workspaceBytes(*plugin, smaller, variant);
        require(bytes <= largest,
            "a smaller shape needs " + std::to_string(bytes) + " bytes, the largest " + std::to_string(largest));
    }
    return std::to_string(largest) + " bytes";
}

} // namespace

void checkShapes(Subject& subject, Report& report)
{
    std::string const op = subject.name();
    report.run(op, "output types", [&] { return checkOutputTypes(subject); });
    report.run(op, "output shapes, symbolic", [&] { return checkOutputShapes(subject, /* symbolic = */ true); });
    report.run(op, "output shapes, known", [&] { return checkOutputShapes(subject, /* symbolic = */ false); });
    report.run(op, "workspace", [&] { return checkWorkspace(subject); });
}

} // namespace harness
