#include "framework/signature.h"

#include "framework/fields.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace maskline
{

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::IDimensionExpr;
using nvinfer1::TensorFormat;

namespace
{

constexpr std::int64_t kMAX_LENGTH = 0x7fffffff; // the kernels count in int32

//! Where a letter was first seen, and with what length.
struct Binding
{
    std::int32_t letter;
    std::int32_t input;
    std::int32_t axis;
    std::int64_t length;
};

Binding const* find(std::vector<Binding> const& bindings, std::int32_t letter)
{
    auto const found = std::find_if(
        bindings.begin(), bindings.end(), [letter](Binding const& binding) { return binding.letter == letter; });
    return found == bindings.end() ? nullptr : &*found;
}

//! Where each letter of the inputs is first said.
std::vector<Binding> bindLetters(std::vector<Tensor> const& inputs, std::vector<Dims> const& shapes)
{
    std::vector<Binding> bindings;
    for (std::size_t i = 0; i < inputs.size(); ++i)
    {
        for (std::size_t axis = 0; axis < inputs[i].dims.size(); ++axis)
        {
            Dim const& dim = inputs[i].dims[axis];
            std::int64_t const length = shapes[i].d[axis];
            if (!dim.isConstant() && !dim.isProduct() && length >= 0 && find(bindings, dim.first()) == nullptr)
            {
                bindings.push_back(
                    {dim.first(), static_cast<std::int32_t>(i), static_cast<std::int32_t>(axis), length});
            }
        }
    }
    return bindings;
}

} // namespace

std::string describe(Dims const& dims)
{
    std::string text;
    for (std::int32_t i = 0; i < dims.nbDims; ++i)
    {
        text += (i == 0 ? "" : ",") + std::to_string(dims.d[i]);
    }
    return "[" + text + "]";
}

std::string describe(DataType type, TensorFormat format)
{
    std::string text;
    switch (type)
    {
    case DataType::kFLOAT: text = "FLOAT"; break;
    case DataType::kHALF: text = "HALF"; break;
    case DataType::kBF16: text = "BF16"; break;
    case DataType::kINT32: text = "INT32"; break;
    case DataType::kINT64: text = "INT64"; break;
    case DataType::kINT8: text = "INT8"; break;
    case DataType::kUINT8: text = "UINT8"; break;
    case DataType::kBOOL: text = "BOOL"; break;
    default: text = "type " + std::to_string(static_cast<std::int32_t>(type)); break;
    }
    switch (format)
    {
    case TensorFormat::kLINEAR: return text + ", linear";
    case TensorFormat::kHWC8: return text + ", channels packed by 8";
    default: return text + ", format " + std::to_string(static_cast<std::int32_t>(format));
    }
}

std::string describe(TensorKind kind)
{
    switch (kind)
    {
    case TensorKind::kFLOAT32: return "FLOAT, linear";
    case TensorKind::kINT32: return "INT32, linear";
    case TensorKind::kREAL: return "FLOAT, HALF or BF16, linear";
    default: return "FLOAT, HALF or BF16, linear, or HALF or BF16 with channels packed by 8, all features alike";
    }
}

std::int64_t volume(Dims const& dims) noexcept
{
    std::int64_t product = 1;
    for (std::int32_t i = 0; i < dims.nbDims; ++i)
    {
        product *= dims.d[i];
    }
    return product;
}

Signature::Signature(std::string op, std::vector<Tensor> inputs, std::vector<Tensor> outputs)
    : mOp(std::move(op))
    , mInputs(std::move(inputs))
    , mOutputs(std::move(outputs))
{}

Tensor const& Signature::tensor(std::int32_t position) const noexcept
{
    auto const i = static_cast<std::size_t>(position);
    return i < mInputs.size() ? mInputs[i] : mOutputs[i - mInputs.size()];
}

std::int32_t Signature::firstFeatures() const noexcept
{
    for (std::size_t i = 0; i < mInputs.size(); ++i)
    {
        if (mInputs[i].kind == TensorKind::kFEATURES)
        {
            return static_cast<std::int32_t>(i);
        }
    }
    return -1;
}

bool Signature::isAllowed(TensorKind kind, DataType type, TensorFormat format) noexcept
{
    bool const narrow = type == DataType::kHALF || type == DataType::kBF16;
    bool const linear = format == TensorFormat::kLINEAR;
    switch (kind)
    {
    case TensorKind::kFLOAT32: return linear && type == DataType::kFLOAT;
    case TensorKind::kINT32: return linear && type == DataType::kINT32;
    case TensorKind::kREAL: return linear && (narrow || type == DataType::kFLOAT);
    default: return (linear && (narrow || type == DataType::kFLOAT)) || (format == TensorFormat::kHWC8 && narrow);
    }
}

void Signature::checkCounts(std::int32_t numInputs, std::int32_t numOutputs) const
{
    if (numInputs != static_cast<std::int32_t>(mInputs.size()))
    {
        throw PluginError(mOp + ": got " + std::to_string(numInputs) + " inputs, expected "
            + std::to_string(mInputs.size()) + " (" + mInputs.front().name + " .. " + mInputs.back().name + ")");
    }
    if (numOutputs != static_cast<std::int32_t>(mOutputs.size()))
    {
        throw PluginError(mOp + ": got " + std::to_string(numOutputs) + " outputs, expected "
            + std::to_string(mOutputs.size()) + " (" + mOutputs.front().name + " .. " + mOutputs.back().name + ")");
    }
}

void Signature::checkShapes(std::vector<Dims> const& shapes) const
{
    auto const fail = [this](std::size_t input, std::string const& rule) {
        throw PluginError(mOp + ": input " + mInputs[input].name + ": " + rule);
    };
    for (std::size_t i = 0; i < mInputs.size(); ++i)
    {
        if (shapes[i].nbDims != static_cast<std::int32_t>(mInputs[i].dims.size()))
        {
            fail(i, "got shape " + describe(shapes[i]) + ", expected rank " + std::to_string(mInputs[i].dims.size()));
        }
    }
    auto const bindings = bindLetters(mInputs, shapes);
    for (std::size_t i = 0; i < mInputs.size(); ++i)
    {
        for (std::size_t axis = 0; axis < mInputs[i].dims.size(); ++axis)
        {
            Dim const& dim = mInputs[i].dims[axis];
            std::int64_t const length = shapes[i].d[axis];
            if (length > kMAX_LENGTH)
            {
                fail(i,
                    "got shape " + describe(shapes[i]) + ", expected lengths of at most "
                        + std::to_string(kMAX_LENGTH));
            }
            auto const* const first = dim.isConstant() ? nullptr : find(bindings, dim.first());
            auto const* const second = dim.isProduct() ? find(bindings, dim.second()) : nullptr;
            if (length < 0 || (!dim.isConstant() && first == nullptr) || (dim.isProduct() && second == nullptr))
            {
                continue; // not known yet
            }
            std::int64_t const expected
                = dim.isConstant() ? dim.length() : first->length * (dim.isProduct() ? second->length : 1);
            if (length != expected)
            {
                std::string const origin = dim.isConstant() ? ""
                    : dim.isProduct()                       ? " (images times rows an image)"
                                      : " as in " + mInputs[static_cast<std::size_t>(first->input)].name;
                fail(i,
                    "got shape " + describe(shapes[i]) + ", expected dimension " + std::to_string(axis) + " to be "
                        + std::to_string(expected) + origin);
            }
        }
    }
}

std::vector<Dims> Signature::outputShapes(std::vector<Dims> const& inputs) const
{
    auto const bindings = bindLetters(mInputs, inputs);
    std::vector<Dims> outputs;
    for (auto const& tensor : mOutputs)
    {
        Dims shape{static_cast<std::int32_t>(tensor.dims.size()), {}};
        for (std::size_t axis = 0; axis < tensor.dims.size(); ++axis)
        {
            Dim const& dim = tensor.dims[axis];
            shape.d[axis] = dim.isConstant() ? dim.length() : find(bindings, dim.first())->length;
            shape.d[axis] *= dim.isProduct() ? find(bindings, dim.second())->length : 1;
        }
        outputs.push_back(shape);
    }
    return outputs;
}

void Signature::outputShapes(DimsExprs const* inputs, DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const
{
    // Every letter gets the length zero, so that each is bound to where it is first said.
    std::vector<Dims> unknown;
    for (auto const& tensor : mInputs)
    {
        unknown.push_back(Dims{static_cast<std::int32_t>(tensor.dims.size()), {}});
    }
    auto const bindings = bindLetters(mInputs, unknown);
    auto const expression = [&](std::int32_t letter) {
        auto const* const binding = find(bindings, letter);
        return inputs[binding->input].d[binding->axis];
    };
    for (std::size_t i = 0; i < mOutputs.size(); ++i)
    {
        auto const& dims = mOutputs[i].dims;
        outputs[i].nbDims = static_cast<std::int32_t>(dims.size());
        for (std::size_t axis = 0; axis < dims.size(); ++axis)
        {
            IDimensionExpr const* value
                = dims[axis].isConstant() ? builder.constant(dims[axis].length()) : expression(dims[axis].first());
            if (dims[axis].isProduct())
            {
                value
                    = builder.operation(nvinfer1::DimensionOperation::kPROD, *value, *expression(dims[axis].second()));
            }
            outputs[i].d[axis] = value;
        }
    }
}

} // namespace maskline
