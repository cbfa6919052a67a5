#include "testing/harness/checks/checks.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace harness
{
namespace
{

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

constexpr int kNUM_TYPES = 9;    // FLOAT .. INT64
constexpr int kNUM_FORMATS = 13; // LINEAR .. DHWC

//! The rule as the op's README says it, apart from the plugin's code.
bool isAllowed(OpCase const& opCase, std::vector<nvinfer1::DynamicPluginTensorDesc> const& all, std::size_t position)
{
    auto const numInputs = opCase.inputs.size();
    auto const& rule = position < numInputs ? opCase.inputs[position] : opCase.outputs[position - numInputs];
    auto const& desc = all[position].desc;
    bool const linear = desc.format == TensorFormat::kLINEAR;
    bool const half = desc.type == DataType::kHALF || desc.type == DataType::kBF16;
    bool const real = half || desc.type == DataType::kFLOAT;
    if (rule.kind == Kind::kINT)
    {
        return linear && desc.type == DataType::kINT32;
    }
    if (rule.kind == Kind::kFLOAT)
    {
        return linear && desc.type == DataType::kFLOAT;
    }
    if (rule.kind == Kind::kREAL)
    {
        return linear && real;
    }
    for (std::size_t i = 0; i < position; ++i)
    {
        if (i < numInputs && opCase.inputs[i].kind == Kind::kFEATURES)
        {
            return desc.type == all[i].desc.type && desc.format == all[i].desc.format;
        }
    }
    return (linear && real) || (desc.format == TensorFormat::kHWC8 && half);
}

std::string checkEvery(Subject& subject)
{
    auto const plugin = subject.make();
    OpCase const& opCase = subject.opCase;
    auto const inputs = static_cast<std::int32_t>(opCase.inputs.size());
    auto const outputs = static_cast<std::int32_t>(opCase.outputs.size());
    std::size_t asked = 0;
    std::size_t supported = 0;
    for (auto const variant : variantsOf(opCase))
    {
        auto const base = profile(opCase, variant);
        for (std::size_t position = 0; position < base.size(); ++position)
        {
            for (int combination = 0; combination < kNUM_TYPES * kNUM_FORMATS; ++combination)
            {
                auto all = base;
                all[position].desc.type = static_cast<DataType>(combination % kNUM_TYPES);
                all[position].desc.format = static_cast<TensorFormat>(combination / kNUM_TYPES);
                bool const answer = build(*plugin).supportsFormatCombination(
                    static_cast<std::int32_t>(position), all.data(), inputs, outputs);
                require(answer == isAllowed(opCase, all, position),
                    "tensor " + std::to_string(position) + " as " + describe(all[position].desc) + " is "
                        + (answer ? "supported" : "refused"));
                ++asked;
                supported += answer ? 1 : 0;
            }
        }
    }
    require(!build(*plugin).supportsFormatCombination(
                inputs + outputs, profile(opCase, variantsOf(opCase)[0]).data(), inputs, outputs),
        "a tensor past the last one is supported");
    subject.refusal(1);
    return std::to_string(supported) + " of " + std::to_string(asked) + " combinations supported";
}

} // namespace

void checkFormats(Subject& subject, Report& report)
{
    report.run(subject.name(), "format combinations", [&] { return checkEvery(subject); });
}

} // namespace harness
