// The attributes of a plugin as TensorRT carries them: fields with a name, a type and an array of values.
//
// A plugin lists its attributes once, in a function `visit(visitor, attributes)` that calls `visitor(name, value)` for
// each. FieldReader takes the values from TensorRT's fields (createPlugin), FieldList makes fields of them (what an
// engine stores, what a creator announces, and the text of the timing cache).
#pragma once

#include "node/signature.h"

#include <NvInferRuntime.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <vector>

namespace maskline
{

//! Reads attributes from fields.
//!
//! An int may come as int32 or int64 of length 1, a list of ints as either of any length, a float as float32 (or
//! float64), a string as chars, with or without a closing NUL. ONNX has no bool: a bool is an int of 0 or 1.
//! `plugin_namespace` and `plugin_version`, which our ONNX nodes carry to choose the plugin, are no attributes.
class FieldReader
{
public:
    //! @param op the plugin's name, which begins each error text.
    //! @throws NodeError for a field without a name or given twice, or a null array.
    FieldReader(std::string op, nvinfer1::PluginFieldCollection const* fields);

    //! Fills `value` from the field `name`.
    //!
    //! @throws NodeError when the field is missing, of another type, of a wrong length or out of the value's range.
    void operator()(char const* name, std::int32_t& value);
    void operator()(char const* name, bool& value);
    void operator()(char const* name, float& value);
    void operator()(char const* name, std::string& value);
    void operator()(char const* name, std::vector<std::int32_t>& value);
    void operator()(char const* name, std::vector<float>& value);

    template <std::size_t N>
    void operator()(char const* name, std::array<float, N>& value)
    {
        std::vector<float> values;
        (*this)(name, values);
        if (values.size() != N)
        {
            fail(name, find(name, ""), std::to_string(N) + " floats");
        }
        std::copy(values.begin(), values.end(), value.begin());
    }

    //! @throws NodeError when there is a field that nobody asked for.
    void finish() const;

private:
    nvinfer1::PluginField const& find(char const* name, char const* expected);
    std::vector<std::int64_t> integers(char const* name, char const* expected);
    [[noreturn]] void fail(char const* name, nvinfer1::PluginField const& field, std::string const& expected) const;

    std::string mOp;
    std::vector<nvinfer1::PluginField> mFields;
    std::set<std::string> mAsked;
};

//! Fields that own their values: ints as int32, floats as float32, strings as chars without a closing NUL.
class FieldList
{
public:
    FieldList() = default;
    FieldList(FieldList const&) = delete;
    FieldList& operator=(FieldList const&) = delete;

    void operator()(char const* name, std::int32_t value);
    void operator()(char const* name, bool value);
    void operator()(char const* name, float value);
    void operator()(char const* name, std::string const& value);
    void operator()(char const* name, std::vector<std::int32_t> const& value);
    void operator()(char const* name, std::vector<float> const& value);

    template <std::size_t N>
    void operator()(char const* name, std::array<float, N> const& value)
    {
        (*this)(name, std::vector<float>(value.begin(), value.end()));
    }

    //! The fields; valid as long as this list.
    nvinfer1::PluginFieldCollection const* collection() noexcept;

    //! The same fields without values, as a creator announces them.
    nvinfer1::PluginFieldCollection const* announcement();

    //! Name and value of every field as text. Floats are written so that no two values share a text.
    std::string text() const;

private:
    void add(
        char const* name, nvinfer1::PluginFieldType type, void const* values, std::size_t bytes, std::size_t count);

    std::deque<std::string> mValues; // a deque: what is in it stays where it is
    std::vector<nvinfer1::PluginField> mFields;
    std::vector<nvinfer1::PluginField> mAnnounced;
    nvinfer1::PluginFieldCollection mCollection{};
    nvinfer1::PluginFieldCollection mAnnouncement{};
};

//! "int32[4]": type and length of a field, for error texts.
std::string describe(nvinfer1::PluginField const& field);

} // namespace maskline
