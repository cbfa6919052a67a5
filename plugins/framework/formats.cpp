#include "framework/formats.h"

#include <cstddef>

namespace maskline
{

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::IDimensionExpr;
using nvinfer1::TensorFormat;

std::string describe(DataType type, TensorFormat format)
{
    std::string text;
    switch (type)
    {
    case DataType::kFLOAT: text = "FLOAT"; break;
    case DataType::kHALF: text = "HALF"; break;
    case DataType::kBF16: text = "BF16"; break;
    case DataType::kINT32: text = "INT32"; break;
    case DataType::kINT64: text = "INT64"; break;
    case DataType::kINT8: text = "INT8"; break;
    case DataType::kUINT8: text = "UINT8"; break;
    case DataType::kBOOL: text = "BOOL"; break;
    default: text = "type " + std::to_string(static_cast<std::int32_t>(type)); break;
    }
    switch (format)
    {
    case TensorFormat::kLINEAR: return text + ", linear";
    case TensorFormat::kHWC8: return text + ", channels packed by 8";
    default: return text + ", format " + std::to_string(static_cast<std::int32_t>(format));
    }
}

std::string describe(TensorKind kind)
{
    switch (kind)
    {
    case TensorKind::kFLOAT32: return "FLOAT, linear";
    case TensorKind::kINT32: return "INT32, linear";
    case TensorKind::kREAL: return "FLOAT, HALF or BF16, linear";
    default: return "FLOAT, HALF or BF16, linear, or HALF or BF16 with channels packed by 8, all features alike";
    }
}

RealType realTypeOf(DataType type) noexcept
{
    switch (type)
    {
    case DataType::kHALF: return RealType::kFLOAT16;
    case DataType::kBF16: return RealType::kBFLOAT16;
    default: return RealType::kFLOAT32;
    }
}

bool isAllowed(TensorKind kind, DataType type, TensorFormat format) noexcept
{
    bool const narrow = type == DataType::kHALF || type == DataType::kBF16;
    bool const linear = format == TensorFormat::kLINEAR;
    switch (kind)
    {
    case TensorKind::kFLOAT32: return linear && type == DataType::kFLOAT;
    case TensorKind::kINT32: return linear && type == DataType::kINT32;
    case TensorKind::kREAL: return linear && (narrow || type == DataType::kFLOAT);
    default: return (linear && (narrow || type == DataType::kFLOAT)) || (format == TensorFormat::kHWC8 && narrow);
    }
}

void outputShapes(
    Signature const& signature, DimsExprs const* inputs, DimsExprs* outputs, nvinfer1::IExprBuilder& builder)
{
    auto const expression = [&](std::int32_t letter) {
        auto const [input, axis] = signature.origin(letter);
        return inputs[input].d[axis];
    };
    for (std::size_t i = 0; i < signature.outputs().size(); ++i)
    {
        auto const& dims = signature.outputs()[i].dims;
        outputs[i].nbDims = static_cast<std::int32_t>(dims.size());
        for (std::size_t axis = 0; axis < dims.size(); ++axis)
        {
            IDimensionExpr const* value
                = dims[axis].isConstant() ? builder.constant(dims[axis].length()) : expression(dims[axis].first());
            if (dims[axis].isProduct())
            {
                value
                    = builder.operation(nvinfer1::DimensionOperation::kPROD, *value, *expression(dims[axis].second()));
            }
            outputs[i].d[axis] = value;
        }
    }
}

} // namespace maskline
