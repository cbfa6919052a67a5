// The attributes of a node as ONNX Runtime carries them.
#pragma once

#include "node/signature.h"
#include "ort/api.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace maskline
{

//! An attribute of a kernel's node.
template <typename Value>
Value read(Ort::ConstKernelInfo& info, char const* name, Value)
{
    return info.GetAttribute<Value>(name);
}

template <typename Value>
std::vector<Value> read(Ort::ConstKernelInfo& info, char const* name, std::vector<Value>)
{
    return info.GetAttributes<Value>(name);
}

//! A node whose shapes are inferred: ONNX Runtime's class, and what is in it.
struct InferredNode : Ort::ShapeInferContext
{
    explicit InferredNode(OrtShapeInferContext* given)
        : Ort::ShapeInferContext(&Ort::GetApi(), given)
        , context(given)
    {}

    OrtShapeInferContext* context;
};

//! The values of an attribute. Not by the class, whose texts are read beyond their end: they have no zero there.
template <typename Value>
std::vector<Value> valuesOf(InferredNode& node, char const* name, OrtOpAttrType type)
{
    OrtApi const& api = Ort::GetApi();
    OrtOpAttr const* attribute = nullptr;
    Ort::ThrowOnError(api.ShapeInferContext_GetAttribute(node.context, name, &attribute));
    std::size_t bytes = 0;
    Value none{};
    // Without room for any it fails, and says how much there has to be; of another type it says nothing.
    Ort::Status asked(api.ReadOpAttr(attribute, type, &none, 0, &bytes));
    if (bytes == 0)
    {
        Ort::ThrowOnError(asked.release());
    }
    std::vector<Value> values(bytes / sizeof(Value));
    if (!values.empty())
    {
        Ort::ThrowOnError(api.ReadOpAttr(attribute, type, values.data(), bytes, &bytes));
    }
    return values;
}

//! The same where shapes are inferred.
inline std::int64_t read(InferredNode& node, char const* name, std::int64_t)
{
    return node.GetAttrInt(name);
}

inline float read(InferredNode& node, char const* name, float)
{
    return node.GetAttrFloat(name);
}

inline std::string read(InferredNode& node, char const* name, std::string const&)
{
    std::vector<char> const characters = valuesOf<char>(node, name, ORT_OP_ATTR_STRING);
    return {characters.begin(), characters.end()};
}

inline std::vector<std::int64_t> read(InferredNode& node, char const* name, std::vector<std::int64_t> const&)
{
    return valuesOf<std::int64_t>(node, name, ORT_OP_ATTR_INTS);
}

inline std::vector<float> read(InferredNode& node, char const* name, std::vector<float> const&)
{
    return valuesOf<float>(node, name, ORT_OP_ATTR_FLOATS);
}

//! Reads attributes of a node, one by one, as a node's `visit` names them.
//!
//! @tparam Source Ort::ConstKernelInfo, when a kernel is made; InferredNode, when shapes are inferred.
template <typename Source>
class NodeReader
{
public:
    //! @param op the op's name, which begins each error text.
    NodeReader(std::string op, Source& source)
        : mOp(std::move(op))
        , mSource(source)
    {}

    //! Fills `value` from the attribute `name`.
    //!
    //! @throws NodeError when it is missing, of another type, of a wrong length or out of the value's range.
    void operator()(char const* name, std::int32_t& value)
    {
        value = narrow(name, get<std::int64_t>(name, "one int"));
    }

    void operator()(char const* name, bool& value)
    {
        std::int64_t const number = get<std::int64_t>(name, "one int, 0 or 1");
        if (number != 0 && number != 1)
        {
            fail(name, "got " + std::to_string(number) + ", expected 0 or 1");
        }
        value = number == 1;
    }

    void operator()(char const* name, float& value)
    {
        value = get<float>(name, "one float");
    }

    void operator()(char const* name, std::string& value)
    {
        value = get<std::string>(name, "a string");
    }

    void operator()(char const* name, std::vector<std::int32_t>& value)
    {
        value.clear();
        for (std::int64_t const number : get<std::vector<std::int64_t>>(name, "a list of ints"))
        {
            value.push_back(narrow(name, number));
        }
    }

    void operator()(char const* name, std::vector<float>& value)
    {
        value = get<std::vector<float>>(name, "a list of floats");
    }

    template <std::size_t N>
    void operator()(char const* name, std::array<float, N>& value)
    {
        auto const values = get<std::vector<float>>(name, "a list of floats");
        if (values.size() != N)
        {
            fail(name, "got " + std::to_string(values.size()) + " floats, expected " + std::to_string(N));
        }
        std::copy(values.begin(), values.end(), value.begin());
    }

private:
    [[noreturn]] void fail(char const* name, std::string const& rule) const
    {
        throw NodeError(mOp + ": attribute " + name + ": " + rule);
    }

    template <typename Value>
    Value get(char const* name, char const* expected) const
    {
        try
        {
            return read(mSource, name, Value{});
        }
        catch (Ort::Exception const& error)
        {
            fail(name, std::string("expected ") + expected + ", got none: " + error.what());
        }
    }

    std::int32_t narrow(char const* name, std::int64_t number) const
    {
        using Limits = std::numeric_limits<std::int32_t>;
        if (number < Limits::min() || number > Limits::max())
        {
            fail(name, "got " + std::to_string(number) + ", expected a number of 32 bits");
        }
        return static_cast<std::int32_t>(number);
    }

    std::string mOp;
    Source& mSource;
};

} // namespace maskline
