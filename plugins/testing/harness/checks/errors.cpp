#include "testing/harness/checks/checks.h"
#include "testing/harness/played/expressions.h"

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace harness
{
namespace
{

using nvinfer1::DimsExprs;
using nvinfer1::PluginFieldType;

//! The same field with its first value changed.
template <typename T>
Field withFirst(Field field, T value)
{
    std::memcpy(&field.bytes[0], &value, sizeof(value));
    return field;
}

//! Ways in which a field can be wrong, by name.
std::map<std::string, Field> wrongVersions(Field const& field)
{
    bool const isText = field.type == PluginFieldType::kCHAR;
    std::map<std::string, Field> wrong;
    wrong["another type"]
        = {field.name, isText ? PluginFieldType::kINT32 : PluginFieldType::kCHAR, "abcd", isText ? 1 : 4};
    wrong["no values"] = {field.name, field.type, "", 0};
    wrong["unknown type"] = {field.name, PluginFieldType::kUNKNOWN, field.bytes, field.length};
    if (field.type == PluginFieldType::kINT32)
    {
        wrong["negative"] = withFirst<std::int32_t>(field, -1);
        wrong["floats"] = {field.name, PluginFieldType::kFLOAT32, field.bytes, field.length};
        std::int64_t const huge = std::int64_t{1} << 40;
        wrong["beyond int32"]
            = {field.name, PluginFieldType::kINT64, std::string(reinterpret_cast<char const*>(&huge), 8), 1};
        if (field.length == 1)
        {
            wrong["two values"] = {field.name, field.type, field.bytes + field.bytes, 2};
        }
    }
    if (field.type == PluginFieldType::kFLOAT32)
    {
        wrong["not a number"] = withFirst(field, std::numeric_limits<float>::quiet_NaN());
        wrong["infinite"] = withFirst(field, std::numeric_limits<float>::infinity());
        wrong["one value more"] = {field.name, field.type, field.bytes + std::string(4, '\x3f'), field.length + 1};
        wrong["ints"] = {field.name, PluginFieldType::kINT32, field.bytes, field.length};
    }
    if (isText)
    {
        wrong["another word"] = {field.name, field.type, "nothing", 7};
    }
    return wrong;
}

std::string checkFields(Subject& subject)
{
    FieldSet const good = subject.opCase.fields;
    std::size_t tried = 0;
    auto const refuse = [&](FieldSet const& fields, std::string const& name, std::string const& what) {
        try
        {
            std::string const line = subject.refusal(fields);
            // A list of another length may be named by the other list that it should match.
            require(what == "one value more" || line.find(name) != std::string::npos,
                "the error does not name the field: " + line);
        }
        catch (Failure const& failure)
        {
            throw Failure(name + ", " + what + ": " + failure.what());
        }
        ++tried;
    };
    for (auto const& field : good.all())
    {
        refuse(FieldSet(good).remove(field.name), field.name, "missing");
        for (auto const& [what, wrong] : wrongVersions(field))
        {
            bool const anyLength = what == "one value more" && field.name == "aspect_ratios";
            if (!anyLength) // as many aspect ratios as one likes
            {
                refuse(FieldSet(good).put(wrong), field.name, what);
            }
        }
    }
    refuse(FieldSet(good).ints("colour", {1}), "colour", "unknown");
    return std::to_string(tried) + " wrong fields refused";
}

std::string checkNoFields(Subject& subject)
{
    auto& creator = subject.library.creator(subject.opCase.op);
    subject.logged();
    PluginPtr const plugin(creator.createPlugin("layer", nullptr, nvinfer1::TensorRTPhase::kBUILD));
    require(plugin == nullptr, "createPlugin takes nullptr for fields");
    subject.refusal(1);
    auto twice = subject.opCase.fields;
    std::vector<nvinfer1::PluginField> doubled(
        twice.collection()->fields, twice.collection()->fields + twice.collection()->nbFields);
    doubled.push_back(doubled.front());
    nvinfer1::PluginFieldCollection const collection{static_cast<std::int32_t>(doubled.size()), doubled.data()};
    PluginPtr const second(creator.createPlugin(nullptr, &collection, nvinfer1::TensorRTPhase::kBUILD));
    require(second == nullptr, "createPlugin takes a field twice");
    return subject.refusal(1);
}

//! Wrong shapes of the inputs: each input with a rank more and less, each length that something else fixes.
struct WrongShape
{
    std::string what;
    std::vector<nvinfer1::Dims> shapes;
    std::string name; //!< of the input, where the error must say it
};

std::vector<WrongShape> wrongShapes(OpCase const& opCase)
{
    std::map<std::string, int> uses;
    std::vector<nvinfer1::Dims> good;
    for (auto const& rule : opCase.inputs)
    {
        good.push_back(shapeOf(rule, opCase.sizes[0]));
        for (auto const& dim : rule.dims)
        {
            ++uses[dim];
        }
    }
    std::vector<WrongShape> wrong;
    for (std::size_t i = 0; i < good.size(); ++i)
    {
        auto const& rule = opCase.inputs[i];
        auto shapes = good;
        shapes[i].d[shapes[i].nbDims++] = 1;
        wrong.push_back({rule.name + " with a rank more", shapes, rule.name});
        shapes[i] = good[i];
        --shapes[i].nbDims;
        wrong.push_back({rule.name + " with a rank less", shapes, rule.name});
        for (std::size_t axis = 0; axis < rule.dims.size(); ++axis)
        {
            std::string const& dim = rule.dims[axis];
            bool const fixed = std::isdigit(static_cast<unsigned char>(dim[0])) != 0;
            if (fixed || uses[dim] > 1 || dim.find('*') != std::string::npos)
            {
                shapes[i] = good[i];
                ++shapes[i].d[axis];
                wrong.push_back({rule.name + " with dimension " + std::to_string(axis) + " one longer", shapes,
                    fixed ? rule.name : ""});
            }
        }
    }
    return wrong;
}

std::string checkShapeErrors(Subject& subject)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    auto const numInputs = static_cast<std::int32_t>(opCase.inputs.size());
    auto const numOutputs = static_cast<std::int32_t>(opCase.outputs.size());
    auto const variant = variantsOf(opCase)[0];
    std::string last;
    auto const all = wrongShapes(opCase);
    for (auto const& wrong : all)
    {
        try
        {
            auto descs = describeAll(opCase, opCase.sizes[0], variant);
            auto dynamic = profile(opCase, variant);
            ExpressionBuilder builder;
            std::vector<DimsExprs> expressions;
            for (std::size_t i = 0; i < wrong.shapes.size(); ++i)
            {
                descs[i].dims = wrong.shapes[i];
                dynamic[i].max = wrong.shapes[i];
                DimsExprs shape{wrong.shapes[i].nbDims, {}};
                for (std::int32_t axis = 0; axis < shape.nbDims; ++axis)
                {
                    shape.d[axis] = builder.fixed(wrong.shapes[i].d[axis]);
                }
                expressions.push_back(shape);
            }
            std::vector<DimsExprs> outputs(opCase.outputs.size());
            subject.logged();
            last = subject.refusal(build(*plugin).getOutputShapes(
                expressions.data(), numInputs, nullptr, 0, outputs.data(), numOutputs, builder));
            require(last.find(wrong.name) != std::string::npos, "the error does not name the input: " + last);
            subject.refusal(
                build(*plugin).configurePlugin(dynamic.data(), numInputs, dynamic.data() + numInputs, numOutputs));
            require(build(*plugin).getWorkspaceSize(dynamic.data(), numInputs, dynamic.data() + numInputs, numOutputs)
                    == std::numeric_limits<std::size_t>::max(),
                "getWorkspaceSize says a size");
            subject.refusal(1);
            subject.refusal(
                runtime(*plugin).onShapeChange(descs.data(), numInputs, descs.data() + numInputs, numOutputs));
            std::vector<void const*> const noInputs(opCase.inputs.size());
            std::vector<void*> const noOutputs(opCase.outputs.size());
            subject.refusal(runtime(*plugin).enqueue(
                descs.data(), descs.data() + numInputs, noInputs.data(), noOutputs.data(), nullptr, nullptr));
        }
        catch (Failure const& failure)
        {
            throw Failure(wrong.what + ": " + failure.what());
        }
    }
    return std::to_string(all.size()) + " wrong shapes refused at five places; " + last;
}

std::string checkCountsAndTypes(Subject& subject)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    auto const numInputs = static_cast<std::int32_t>(opCase.inputs.size());
    auto const numOutputs = static_cast<std::int32_t>(opCase.outputs.size());
    auto const descs = describeAll(opCase, opCase.sizes[0], variantsOf(opCase)[0]);
    subject.logged();
    subject.refusal(runtime(*plugin).onShapeChange(descs.data(), numInputs - 1, descs.data() + numInputs, numOutputs));
    subject.refusal(runtime(*plugin).onShapeChange(descs.data(), numInputs, descs.data() + numInputs, numOutputs + 1));
    std::string last;
    for (std::size_t i = 0; i < descs.size(); ++i)
    {
        auto wrong = descs;
        wrong[i].type = nvinfer1::DataType::kINT8;
        last = subject.refusal(
            runtime(*plugin).onShapeChange(wrong.data(), numInputs, wrong.data() + numInputs, numOutputs));
        wrong[i] = descs[i];
        wrong[i].format = nvinfer1::TensorFormat::kCHW32;
        subject.refusal(runtime(*plugin).onShapeChange(wrong.data(), numInputs, wrong.data() + numInputs, numOutputs));
    }
    return last;
}

} // namespace

void checkBadFields(Subject& subject, Report& report)
{
    report.run(subject.name(), "bad fields", [&] { return checkFields(subject); });
    report.run(subject.name(), "no fields, one twice", [&] { return checkNoFields(subject); });
}

void checkBadShapes(Subject& subject, Report& report)
{
    report.run(subject.name(), "bad shapes", [&] { return checkShapeErrors(subject); });
    report.run(subject.name(), "bad counts and types", [&] { return checkCountsAndTypes(subject); });
}

} // namespace harness
