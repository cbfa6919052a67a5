// What TensorRT knows of a tensor and the signature does not: types and formats, and shapes as expressions.
#pragma once

#include "node/call.h"

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>

namespace maskline
{

//! The type of features; kFLOAT32 for all that is none.
RealType realTypeOf(nvinfer1::DataType type) noexcept;

//! Whether a tensor of this kind may have this type and format.
bool isAllowed(TensorKind kind, nvinfer1::DataType type, nvinfer1::TensorFormat format) noexcept;

//! Whether tensor `position` (outputs follow the inputs) may have its type and format, given those before it.
//!
//! @param descriptionAt gives the PluginTensorDesc at a position.
template <typename DescriptionAt>
bool isSupported(Signature const& signature, std::int32_t position, DescriptionAt const& descriptionAt)
{
    nvinfer1::PluginTensorDesc const& description = descriptionAt(position);
    TensorKind const kind = signature.tensor(position).kind;
    if (!isAllowed(kind, description.type, description.format))
    {
        return false;
    }
    std::int32_t const features = signature.firstFeatures();
    if (kind != TensorKind::kFEATURES || position <= features)
    {
        return true;
    }
    nvinfer1::PluginTensorDesc const& first = descriptionAt(features);
    return description.type == first.type && description.format == first.format;
}

//! The shapes of all outputs for those of the inputs.
void outputShapes(Signature const& signature, nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* outputs,
    nvinfer1::IExprBuilder& builder);

//! "HALF, channels packed by 8".
std::string describe(nvinfer1::DataType type, nvinfer1::TensorFormat format);

//! What a kind allows, in words.
std::string describe(TensorKind kind);

} // namespace maskline
