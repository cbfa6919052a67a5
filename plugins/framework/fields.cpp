#include "framework/fields.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

namespace maskline
{

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

namespace
{

// What says which plugin a node is for; TensorRT may pass it along.
bool isAddress(std::string const& name)
{
    return name == "plugin_namespace" || name == "plugin_version";
}

char const* typeName(PluginFieldType type)
{
    switch (type)
    {
    case PluginFieldType::kFLOAT16: return "float16";
    case PluginFieldType::kFLOAT32: return "float32";
    case PluginFieldType::kFLOAT64: return "float64";
    case PluginFieldType::kINT8: return "int8";
    case PluginFieldType::kINT16: return "int16";
    case PluginFieldType::kINT32: return "int32";
    case PluginFieldType::kCHAR: return "char";
    case PluginFieldType::kDIMS: return "dims";
    case PluginFieldType::kBF16: return "bfloat16";
    case PluginFieldType::kINT64: return "int64";
    default: return "unknown";
    }
}

template <typename T>
std::vector<T> valuesOf(PluginField const& field)
{
    std::vector<T> values(static_cast<std::size_t>(field.length));
    if (!values.empty())
    {
        std::memcpy(values.data(), field.data, values.size() * sizeof(T));
    }
    return values;
}

bool fitsInt32(std::int64_t value)
{
    return value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max();
}

} // namespace

std::string describe(PluginField const& field)
{
    return std::string(typeName(field.type)) + "[" + std::to_string(field.length) + "]";
}

FieldReader::FieldReader(std::string op, PluginFieldCollection const* fields)
    : mOp(std::move(op))
{
    if (fields == nullptr || fields->nbFields < 0 || (fields->nbFields > 0 && fields->fields == nullptr))
    {
        throw NodeError(mOp + ": got no fields, expected one for each attribute");
    }
    std::set<std::string> seen;
    for (std::int32_t i = 0; i < fields->nbFields; ++i)
    {
        PluginField const& field = fields->fields[i];
        if (field.name == nullptr)
        {
            throw NodeError(mOp + ": field " + std::to_string(i) + " has no name");
        }
        if (isAddress(field.name))
        {
            continue;
        }
        if (!seen.insert(field.name).second)
        {
            throw NodeError(mOp + ": field " + field.name + ": given twice, expected once");
        }
        if (field.length < 0 || (field.length > 0 && field.data == nullptr))
        {
            throw NodeError(mOp + ": field " + field.name + ": got " + describe(field) + " without values");
        }
        mFields.push_back(field);
    }
}

void FieldReader::fail(char const* name, PluginField const& field, std::string const& expected) const
{
    throw NodeError(mOp + ": field " + name + ": got " + describe(field) + ", expected " + expected);
}

PluginField const& FieldReader::find(char const* name, char const* expected)
{
    mAsked.insert(name);
    auto const found = std::find_if(mFields.begin(), mFields.end(),
        [name](PluginField const& field) { return std::strcmp(field.name, name) == 0; });
    if (found == mFields.end())
    {
        throw NodeError(
            mOp + ": field " + name + ": missing, expected " + expected + "; a node must carry every attribute");
    }
    return *found;
}

std::vector<std::int64_t> FieldReader::integers(char const* name, char const* expected)
{
    PluginField const& field = find(name, expected);
    std::vector<std::int64_t> values;
    if (field.type == PluginFieldType::kINT32)
    {
        auto const narrow = valuesOf<std::int32_t>(field);
        values.assign(narrow.begin(), narrow.end());
    }
    else if (field.type == PluginFieldType::kINT64)
    {
        values = valuesOf<std::int64_t>(field);
    }
    else
    {
        fail(name, field, expected);
    }
    for (auto const value : values)
    {
        if (!fitsInt32(value))
        {
            throw NodeError(
                mOp + ": field " + name + ": got " + std::to_string(value) + ", expected a value that int32 holds");
        }
    }
    return values;
}

void FieldReader::operator()(char const* name, std::int32_t& value)
{
    auto const values = integers(name, "one int");
    if (values.size() != 1)
    {
        fail(name, find(name, ""), "one int");
    }
    value = static_cast<std::int32_t>(values[0]);
}

void FieldReader::operator()(char const* name, bool& value)
{
    std::int32_t number = 0;
    (*this)(name, number);
    if (number != 0 && number != 1)
    {
        throw NodeError(mOp + ": field " + name + ": got " + std::to_string(number) + ", expected 0 or 1");
    }
    value = number == 1;
}

void FieldReader::operator()(char const* name, float& value)
{
    std::vector<float> values;
    (*this)(name, values);
    if (values.size() != 1)
    {
        fail(name, find(name, ""), "one float");
    }
    value = values[0];
}

void FieldReader::operator()(char const* name, std::string& value)
{
    PluginField const& field = find(name, "a string");
    if (field.type != PluginFieldType::kCHAR)
    {
        fail(name, field, "a string (chars)");
    }
    value.clear();
    if (field.length > 0)
    {
        value.assign(static_cast<char const*>(field.data), static_cast<std::size_t>(field.length));
    }
    value.erase(std::find(value.begin(), value.end(), '\0'), value.end());
}

void FieldReader::operator()(char const* name, std::vector<std::int32_t>& value)
{
    auto const values = integers(name, "ints");
    value.clear();
    std::transform(values.begin(), values.end(), std::back_inserter(value),
        [](std::int64_t number) { return static_cast<std::int32_t>(number); });
}

void FieldReader::operator()(char const* name, std::vector<float>& value)
{
    PluginField const& field = find(name, "float32");
    if (field.type == PluginFieldType::kFLOAT32)
    {
        value = valuesOf<float>(field);
    }
    else if (field.type == PluginFieldType::kFLOAT64)
    {
        auto const wide = valuesOf<double>(field);
        value.clear();
        std::transform(wide.begin(), wide.end(), std::back_inserter(value),
            [](double number) { return static_cast<float>(number); });
    }
    else
    {
        fail(name, field, "float32");
    }
}

void FieldReader::finish() const
{
    for (auto const& field : mFields)
    {
        if (mAsked.count(field.name) == 0)
        {
            std::string known;
            for (auto const& name : mAsked)
            {
                known += (known.empty() ? "" : ", ") + name;
            }
            throw NodeError(mOp + ": field " + field.name + ": unknown, expected one of " + known);
        }
    }
}

} // namespace maskline
