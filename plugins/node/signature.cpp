#include "node/signature.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <utility>

namespace maskline
{

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
std::vector<Binding> bindLetters(std::vector<Tensor> const& inputs, std::vector<Shape> const& shapes)
{
    std::vector<Binding> bindings;
    for (std::size_t i = 0; i < inputs.size(); ++i)
    {
        for (std::size_t axis = 0; axis < inputs[i].dims.size(); ++axis)
        {
            Dim const& dim = inputs[i].dims[axis];
            std::int64_t const length = shapes[i][axis];
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

std::string describe(Shape const& shape)
{
    std::string text;
    for (std::int64_t const length : shape)
    {
        text += (text.empty() ? "" : ",") + std::to_string(length);
    }
    return "[" + text + "]";
}

std::int64_t volume(Shape const& shape) noexcept
{
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Signature::Signature(std::string op, std::vector<Tensor> inputs, std::vector<Tensor> outputs)
    : mOp(std::move(op))
    , mInputs(std::move(inputs))
    , mOutputs(std::move(outputs))
{}

bool Signature::isOfManyTypes() const noexcept
{
    return std::any_of(mInputs.begin(), mInputs.end(),
        [](Tensor const& input) { return input.kind == TensorKind::kREAL || input.kind == TensorKind::kFEATURES; });
}

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

void Signature::checkCounts(std::int32_t numInputs, std::int32_t numOutputs) const
{
    if (numInputs != static_cast<std::int32_t>(mInputs.size()))
    {
        throw NodeError(mOp + ": got " + std::to_string(numInputs) + " inputs, expected "
            + std::to_string(mInputs.size()) + " (" + mInputs.front().name + " .. " + mInputs.back().name + ")");
    }
    if (numOutputs != static_cast<std::int32_t>(mOutputs.size()))
    {
        throw NodeError(mOp + ": got " + std::to_string(numOutputs) + " outputs, expected "
            + std::to_string(mOutputs.size()) + " (" + mOutputs.front().name + " .. " + mOutputs.back().name + ")");
    }
}

void Signature::checkShapes(std::vector<Shape> const& shapes) const
{
    auto const fail = [this](std::size_t input, std::string const& rule) {
        throw NodeError(mOp + ": input " + mInputs[input].name + ": " + rule);
    };
    for (std::size_t i = 0; i < mInputs.size(); ++i)
    {
        if (shapes[i].size() != mInputs[i].dims.size())
        {
            fail(i, "got shape " + describe(shapes[i]) + ", expected rank " + std::to_string(mInputs[i].dims.size()));
        }
        // Of all inputs before any two lengths are multiplied: a product of larger ones would overflow.
        if (std::any_of(shapes[i].begin(), shapes[i].end(), [](std::int64_t length) { return length > kMAX_LENGTH; }))
        {
            fail(
                i, "got shape " + describe(shapes[i]) + ", expected lengths of at most " + std::to_string(kMAX_LENGTH));
        }
    }
    auto const bindings = bindLetters(mInputs, shapes);
    for (std::size_t i = 0; i < mInputs.size(); ++i)
    {
        for (std::size_t axis = 0; axis < mInputs[i].dims.size(); ++axis)
        {
            Dim const& dim = mInputs[i].dims[axis];
            std::int64_t const length = shapes[i][axis];
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

std::vector<Shape> Signature::outputShapes(std::vector<Shape> const& inputs) const
{
    auto const bindings = bindLetters(mInputs, inputs);
    auto const lengthOf = [&](std::int32_t letter) {
        auto const* const binding = find(bindings, letter);
        return binding == nullptr ? std::int64_t{-1} : binding->length;
    };
    std::vector<Shape> outputs;
    for (auto const& tensor : mOutputs)
    {
        Shape shape;
        for (Dim const& dim : tensor.dims)
        {
            std::int64_t const first = dim.isConstant() ? dim.length() : lengthOf(dim.first());
            std::int64_t const second = dim.isProduct() ? lengthOf(dim.second()) : 1;
            shape.push_back(first < 0 || second < 0 ? -1 : first * second);
        }
        outputs.push_back(std::move(shape));
    }
    return outputs;
}

std::pair<std::int32_t, std::int32_t> Signature::origin(std::int32_t letter) const
{
    // Every letter gets the length zero, so that each is bound to where it is first said.
    std::vector<Shape> unknown;
    for (auto const& tensor : mInputs)
    {
        unknown.emplace_back(tensor.dims.size());
    }
    auto const bindings = bindLetters(mInputs, unknown);
    auto const* const binding = find(bindings, letter);
    return {binding->input, binding->axis};
}

} // namespace maskline
