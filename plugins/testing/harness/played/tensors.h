// Tensors in the types and formats that plugins take.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace harness
{

using Bytes = std::vector<unsigned char>;
using nvinfer1::PluginTensorDesc;

nvinfer1::Dims makeDims(std::vector<std::int64_t> const& lengths);

PluginTensorDesc makeDesc(nvinfer1::Dims const& dims, nvinfer1::DataType type, nvinfer1::TensorFormat format);

std::int64_t volume(nvinfer1::Dims const& dims);

//! Bytes of a tensor, the padding of packed channels included.
std::size_t byteSize(PluginTensorDesc const& desc);

//! Values [volume] in row-major order, as a tensor of the description's type and format. Padded channels are NaN, as
//! TensorRT promises nothing about them.
Bytes encode(std::vector<double> const& values, PluginTensorDesc const& desc);

//! The way back.
std::vector<double> decode(Bytes const& bytes, PluginTensorDesc const& desc);

//! Whether all padded channels are zero.
bool isPaddingZero(Bytes const& bytes, PluginTensorDesc const& desc);

//! "HALF HWC8 [2,12,7,7]".
std::string describe(PluginTensorDesc const& desc);
std::string describe(nvinfer1::DataType type, nvinfer1::TensorFormat format);

} // namespace harness
