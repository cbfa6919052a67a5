#include "testing/harness/cases/op_case.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <iterator>
#include <sstream>

namespace harness
{

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

std::vector<OpCase> allCases()
{
    return {roiAlignCase(/* adaptive = */ false), roiAlignCase(/* adaptive = */ true), proposalNmsCase(),
        classwiseNmsCase(), maskRleCase()};
}

std::vector<Variant> variantsOf(OpCase const& opCase)
{
    std::vector<Variant> variants{{DataType::kFLOAT, TensorFormat::kLINEAR}};
    auto const has = [&](Kind kind) {
        return std::any_of(
            opCase.inputs.begin(), opCase.inputs.end(), [kind](TensorRule const& rule) { return rule.kind == kind; });
    };
    if (has(Kind::kREAL) || has(Kind::kFEATURES))
    {
        variants.push_back({DataType::kHALF, TensorFormat::kLINEAR});
        variants.push_back({DataType::kBF16, TensorFormat::kLINEAR});
    }
    if (has(Kind::kFEATURES))
    {
        variants.push_back({DataType::kHALF, TensorFormat::kHWC8});
        variants.push_back({DataType::kBF16, TensorFormat::kHWC8});
    }
    return variants;
}

std::int64_t evaluate(std::string const& dim, Sizes const& sizes)
{
    std::int64_t product = 1;
    std::istringstream parts(dim);
    for (std::string part; std::getline(parts, part, '*');)
    {
        product *= std::isdigit(static_cast<unsigned char>(part[0])) != 0 ? std::stoll(part) : sizes.at(part);
    }
    return product;
}

nvinfer1::Dims shapeOf(TensorRule const& rule, Sizes const& sizes)
{
    std::vector<std::int64_t> lengths;
    for (auto const& dim : rule.dims)
    {
        lengths.push_back(evaluate(dim, sizes));
    }
    return makeDims(lengths);
}

std::vector<PluginTensorDesc> describeAll(OpCase const& opCase, Sizes const& sizes, Variant variant)
{
    std::vector<PluginTensorDesc> all;
    for (auto const* const rules : {&opCase.inputs, &opCase.outputs})
    {
        for (auto const& rule : *rules)
        {
            switch (rule.kind)
            {
            case Kind::kINT:
                all.push_back(makeDesc(shapeOf(rule, sizes), DataType::kINT32, TensorFormat::kLINEAR));
                break;
            case Kind::kFLOAT:
                all.push_back(makeDesc(shapeOf(rule, sizes), DataType::kFLOAT, TensorFormat::kLINEAR));
                break;
            default: all.push_back(makeDesc(shapeOf(rule, sizes), variant.type, variant.format)); break;
            }
        }
    }
    return all;
}

std::vector<double> Random::uniform(std::int64_t count, double low, double high)
{
    std::vector<double> values(static_cast<std::size_t>(count));
    std::generate(values.begin(), values.end(), [&] { return uniform(low, high); });
    return values;
}

} // namespace harness
