#include "testing/harness/played/tensors.h"

#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <functional>
#include <iterator>
#include <limits>
#include <stdexcept>

namespace harness
{

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::TensorFormat;

namespace
{

constexpr std::int64_t kPACK = 8;

bool isPacked(PluginTensorDesc const& desc)
{
    return desc.format == TensorFormat::kHWC8;
}

std::size_t elementBytes(DataType type)
{
    return type == DataType::kHALF || type == DataType::kBF16 ? 2 : 4;
}

std::int64_t paddedChannels(Dims const& dims)
{
    return (dims.d[1] + kPACK - 1) / kPACK * kPACK;
}

std::int64_t storedElements(PluginTensorDesc const& desc)
{
    Dims const& dims = desc.dims;
    return isPacked(desc) ? dims.d[0] * dims.d[2] * dims.d[3] * paddedChannels(dims) : volume(dims);
}

template <typename T>
void put(unsigned char* place, T value)
{
    std::memcpy(place, &value, sizeof(value));
}

template <typename T>
T get(unsigned char const* place)
{
    T value;
    std::memcpy(&value, place, sizeof(value));
    return value;
}

void store(unsigned char* place, double value, DataType type)
{
    switch (type)
    {
    case DataType::kHALF: return put(place, __float2half_rn(static_cast<float>(value)));
    case DataType::kBF16: return put(place, __float2bfloat16_rn(static_cast<float>(value)));
    case DataType::kINT32: return put(place, static_cast<std::int32_t>(value));
    default: return put(place, static_cast<float>(value));
    }
}

double load(unsigned char const* place, DataType type)
{
    switch (type)
    {
    case DataType::kHALF: return __half2float(get<__half>(place));
    case DataType::kBF16: return __bfloat162float(get<__nv_bfloat16>(place));
    case DataType::kINT32: return get<std::int32_t>(place);
    default: return get<float>(place);
    }
}

//! Calls `visit(row-major index or -1 for padding, stored index)` for every stored element.
void forEachStored(
    PluginTensorDesc const& desc, std::function<void(std::int64_t index, std::int64_t stored)> const& visit)
{
    if (!isPacked(desc))
    {
        for (std::int64_t i = 0; i < volume(desc.dims); ++i)
        {
            visit(i, i);
        }
        return;
    }
    std::int64_t const channels = desc.dims.d[1];
    std::int64_t const cells = desc.dims.d[2] * desc.dims.d[3];
    std::int64_t const padded = paddedChannels(desc.dims);
    for (std::int64_t stored = 0; stored < storedElements(desc); ++stored)
    {
        std::int64_t const channel = stored % padded;
        std::int64_t const cell = stored / padded % cells;
        std::int64_t const image = stored / padded / cells;
        visit(channel < channels ? (image * channels + channel) * cells + cell : -1, stored);
    }
}

} // namespace

Dims makeDims(std::vector<std::int64_t> const& lengths)
{
    Dims dims{static_cast<std::int32_t>(lengths.size()), {}};
    for (std::size_t i = 0; i < lengths.size(); ++i)
    {
        dims.d[i] = lengths[i];
    }
    return dims;
}

PluginTensorDesc makeDesc(Dims const& dims, DataType type, TensorFormat format)
{
    return {dims, type, format, 1.F};
}

std::int64_t volume(Dims const& dims)
{
    std::int64_t product = 1;
    for (std::int32_t i = 0; i < dims.nbDims; ++i)
    {
        product *= dims.d[i];
    }
    return product;
}

std::size_t byteSize(PluginTensorDesc const& desc)
{
    return static_cast<std::size_t>(storedElements(desc)) * elementBytes(desc.type);
}

Bytes encode(std::vector<double> const& values, PluginTensorDesc const& desc)
{
    if (static_cast<std::int64_t>(values.size()) != volume(desc.dims))
    {
        throw std::logic_error("got " + std::to_string(values.size()) + " values for " + describe(desc));
    }
    Bytes bytes(byteSize(desc));
    std::size_t const size = elementBytes(desc.type);
    forEachStored(desc, [&](std::int64_t index, std::int64_t stored) {
        double const value
            = index < 0 ? std::numeric_limits<double>::quiet_NaN() : values[static_cast<std::size_t>(index)];
        store(bytes.data() + static_cast<std::size_t>(stored) * size, value, desc.type);
    });
    return bytes;
}

std::vector<double> decode(Bytes const& bytes, PluginTensorDesc const& desc)
{
    std::vector<double> values(static_cast<std::size_t>(volume(desc.dims)));
    std::size_t const size = elementBytes(desc.type);
    forEachStored(desc, [&](std::int64_t index, std::int64_t stored) {
        if (index >= 0)
        {
            values[static_cast<std::size_t>(index)]
                = load(bytes.data() + static_cast<std::size_t>(stored) * size, desc.type);
        }
    });
    return values;
}

bool isPaddingZero(Bytes const& bytes, PluginTensorDesc const& desc)
{
    bool zero = true;
    std::size_t const size = elementBytes(desc.type);
    forEachStored(desc, [&](std::int64_t index, std::int64_t stored) {
        zero = zero && (index >= 0 || load(bytes.data() + static_cast<std::size_t>(stored) * size, desc.type) == 0.0);
    });
    return zero;
}

std::string describe(DataType type, TensorFormat format)
{
    char const* const types[] = {"FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64"};
    auto const index = static_cast<std::size_t>(type);
    std::string const name = index < std::size(types) ? types[index] : "type " + std::to_string(index);
    return name
        + (format == TensorFormat::kLINEAR      ? " LINEAR"
                : format == TensorFormat::kHWC8 ? " HWC8"
                                                : " format " + std::to_string(static_cast<int>(format)));
}

std::string describe(PluginTensorDesc const& desc)
{
    std::string text = describe(desc.type, desc.format) + " [";
    for (std::int32_t i = 0; i < desc.dims.nbDims; ++i)
    {
        text += (i == 0 ? "" : ",") + std::to_string(desc.dims.d[i]);
    }
    return text + "]";
}

} // namespace harness
