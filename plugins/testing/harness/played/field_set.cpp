#include "testing/harness/played/field_set.h"

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace harness
{

using nvinfer1::PluginFieldType;

namespace
{

template <typename T>
Field make(std::string const& name, PluginFieldType type, std::vector<T> const& values)
{
    return {name, type,
        values.empty() ? "" : std::string(reinterpret_cast<char const*>(values.data()), values.size() * sizeof(T)),
        static_cast<std::int32_t>(values.size())};
}

template <typename T>
std::vector<T> numbers(std::string const& text)
{
    std::vector<T> values;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');)
    {
        // By way of stod, which reads nan and inf too; 53 bits hold every int that the tests use.
        values.push_back(static_cast<T>(std::stod(part)));
    }
    return values;
}

} // namespace

std::size_t valueBytes(PluginFieldType type)
{
    switch (type)
    {
    case PluginFieldType::kCHAR:
    case PluginFieldType::kINT8: return 1;
    case PluginFieldType::kINT32:
    case PluginFieldType::kFLOAT32: return 4;
    case PluginFieldType::kINT64:
    case PluginFieldType::kFLOAT64: return 8;
    default: return 0;
    }
}

FieldSet& FieldSet::ints(std::string const& name, std::vector<std::int32_t> const& values)
{
    return put(make(name, PluginFieldType::kINT32, values));
}

FieldSet& FieldSet::floats(std::string const& name, std::vector<float> const& values)
{
    return put(make(name, PluginFieldType::kFLOAT32, values));
}

FieldSet& FieldSet::text(std::string const& name, std::string const& value)
{
    return put({name, PluginFieldType::kCHAR, value, static_cast<std::int32_t>(value.size())});
}

FieldSet& FieldSet::parse(std::string const& given)
{
    auto const colon = given.find(':');
    auto const equals = given.find('=', colon == std::string::npos ? 0 : colon);
    if (colon == std::string::npos || equals == std::string::npos)
    {
        throw std::invalid_argument("field \"" + given + "\": expected NAME:TYPE=VALUES, as strides:int32=4,8");
    }
    std::string const name = given.substr(0, colon);
    std::string const type = given.substr(colon + 1, equals - colon - 1);
    std::string const values = given.substr(equals + 1);
    try
    {
        if (type == "int32")
        {
            return put(make(name, PluginFieldType::kINT32, numbers<std::int32_t>(values)));
        }
        if (type == "int64")
        {
            return put(make(name, PluginFieldType::kINT64, numbers<std::int64_t>(values)));
        }
        if (type == "float32")
        {
            return put(make(name, PluginFieldType::kFLOAT32, numbers<float>(values)));
        }
        if (type == "float64")
        {
            return put(make(name, PluginFieldType::kFLOAT64, numbers<double>(values)));
        }
    }
    catch (std::logic_error const&)
    {
        throw std::invalid_argument("field \"" + given + "\": expected numbers with commas between them");
    }
    if (type != "char")
    {
        throw std::invalid_argument(
            "field \"" + given + "\": got type " + type + ", expected int32, int64, float32, float64 or char");
    }
    return text(name, values);
}

FieldSet& FieldSet::put(Field field)
{
    auto const found
        = std::find_if(mFields.begin(), mFields.end(), [&](Field const& old) { return old.name == field.name; });
    if (found == mFields.end())
    {
        mFields.push_back(std::move(field));
    }
    else
    {
        *found = std::move(field);
    }
    return *this;
}

FieldSet& FieldSet::remove(std::string const& name)
{
    mFields.erase(
        std::remove_if(mFields.begin(), mFields.end(), [&](Field const& field) { return field.name == name; }),
        mFields.end());
    return *this;
}

Field const& FieldSet::at(std::string const& name) const
{
    for (auto const& field : mFields)
    {
        if (field.name == name)
        {
            return field;
        }
    }
    throw std::out_of_range("no field " + name);
}

nvinfer1::PluginFieldCollection const* FieldSet::collection()
{
    mView.clear();
    for (auto const& field : mFields)
    {
        mView.emplace_back(field.name.c_str(), field.bytes.data(), field.type, field.length);
    }
    mCollection = {static_cast<std::int32_t>(mView.size()), mView.data()};
    return &mCollection;
}

FieldSet FieldSet::of(nvinfer1::PluginFieldCollection const& collection)
{
    FieldSet set;
    for (std::int32_t i = 0; i < collection.nbFields; ++i)
    {
        auto const& field = collection.fields[i];
        std::size_t const bytes = static_cast<std::size_t>(field.length) * valueBytes(field.type);
        set.mFields.push_back({field.name, field.type,
            field.data == nullptr ? "" : std::string(static_cast<char const*>(field.data), bytes), field.length});
    }
    return set;
}

bool FieldSet::operator==(FieldSet const& other) const
{
    return std::equal(
        mFields.begin(), mFields.end(), other.mFields.begin(), other.mFields.end(), [](Field const& a, Field const& b) {
        return a.name == b.name && a.type == b.type && a.bytes == b.bytes && a.length == b.length;
    });
}

} // namespace harness
