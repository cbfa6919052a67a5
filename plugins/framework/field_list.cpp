#include "framework/fields.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace maskline
{

using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

void FieldList::add(char const* name, PluginFieldType type, void const* values, std::size_t bytes, std::size_t count)
{
    mValues.emplace_back(bytes == 0 ? "" : static_cast<char const*>(values), bytes);
    mFields.emplace_back(name, mValues.back().data(), type, static_cast<std::int32_t>(count));
}

void FieldList::operator()(char const* name, std::int32_t value)
{
    add(name, PluginFieldType::kINT32, &value, sizeof(value), 1);
}

void FieldList::operator()(char const* name, bool value)
{
    (*this)(name, static_cast<std::int32_t>(value));
}

void FieldList::operator()(char const* name, float value)
{
    add(name, PluginFieldType::kFLOAT32, &value, sizeof(value), 1);
}

void FieldList::operator()(char const* name, std::string const& value)
{
    add(name, PluginFieldType::kCHAR, value.data(), value.size(), value.size());
}

void FieldList::operator()(char const* name, std::vector<std::int32_t> const& value)
{
    add(name, PluginFieldType::kINT32, value.data(), value.size() * sizeof(value[0]), value.size());
}

void FieldList::operator()(char const* name, std::vector<float> const& value)
{
    add(name, PluginFieldType::kFLOAT32, value.data(), value.size() * sizeof(value[0]), value.size());
}

PluginFieldCollection const* FieldList::collection() noexcept
{
    mCollection = {static_cast<std::int32_t>(mFields.size()), mFields.data()};
    return &mCollection;
}

PluginFieldCollection const* FieldList::announcement()
{
    mAnnounced.clear();
    for (auto const& field : mFields)
    {
        mAnnounced.emplace_back(field.name, nullptr, field.type, field.length);
    }
    mAnnouncement = {static_cast<std::int32_t>(mAnnounced.size()), mAnnounced.data()};
    return &mAnnouncement;
}

std::string FieldList::text() const
{
    std::string text;
    for (auto const& field : mFields)
    {
        text += std::string(text.empty() ? "" : ";") + field.name + "=";
        if (field.type == PluginFieldType::kCHAR)
        {
            text.append(static_cast<char const*>(field.data), static_cast<std::size_t>(field.length));
            continue;
        }
        for (std::int32_t i = 0; i < field.length; ++i)
        {
            char number[32];
            if (field.type == PluginFieldType::kFLOAT32)
            {
                // 9 digits tell any two floats apart.
                std::snprintf(number, sizeof(number), "%.9g", static_cast<float const*>(field.data)[i]);
            }
            else
            {
                std::snprintf(number, sizeof(number), "%d", static_cast<std::int32_t const*>(field.data)[i]);
            }
            text += std::string(i == 0 ? "" : ",") + number;
        }
    }
    return text;
}

} // namespace maskline
