// Plugin fields that can be made, changed and written as text.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace harness
{

struct Field
{
    std::string name;
    nvinfer1::PluginFieldType type;
    std::string bytes;
    std::int32_t length;
};

//! Fields in order, with their values.
class FieldSet
{
public:
    //! Adds a field of int32 values.
    FieldSet& ints(std::string const& name, std::vector<std::int32_t> const& values);

    //! Adds a field of float32 values.
    FieldSet& floats(std::string const& name, std::vector<float> const& values);

    //! Adds a field of chars, without a closing NUL.
    FieldSet& text(std::string const& name, std::string const& value);

    //! Adds `NAME:TYPE=VALUES`, as `strides:int32=4,8` or `mode:char=align_avg`; types int32 int64 float32 float64
    //! char.
    //!
    //! @throws std::invalid_argument for another text.
    FieldSet& parse(std::string const& text);

    //! Puts a field in the place of the one of its name, or at the end.
    FieldSet& put(Field field);

    FieldSet& remove(std::string const& name);

    Field const& at(std::string const& name) const;

    std::vector<Field> const& all() const noexcept
    {
        return mFields;
    }

    //! As TensorRT hands them over; valid until this set changes.
    nvinfer1::PluginFieldCollection const* collection();

    //! Fields as a plugin gave them.
    static FieldSet of(nvinfer1::PluginFieldCollection const& collection);

    bool operator==(FieldSet const& other) const;

private:
    std::vector<Field> mFields;
    std::vector<nvinfer1::PluginField> mView;
    nvinfer1::PluginFieldCollection mCollection{};
};

//! Bytes of one value of a type; 0 for types the harness does not make.
std::size_t valueBytes(nvinfer1::PluginFieldType type);

} // namespace harness
