#include "roi_align/ort_op.h"

#include "roi_align/host/op.h"

namespace maskline
{
namespace
{

FeatureType featureType(ONNXTensorElementDataType type)
{
    switch (type)
    {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return FeatureType::kHALF;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return FeatureType::kBFLOAT16;
    default: return FeatureType::kFLOAT;
    }
}

} // namespace

RoIAlignFields RoIAlignHostOp::example()
{
    RoIAlignFields fields;
    fields.strides = {4};
    return fields;
}

void RoIAlignHostOp::compute(Attributes const& given, HostCall const& call)
{
    RoIAlignShape shape = shapeOf(given, call.shapes);
    shape.type = featureType(call.type);
    shape.layout = FeatureLayout::kNCHW;
    multiscaleRoIAlign(
        {given.attributes(), shape, call.inputs.data() + 1, call.input<float>(0), call.output<void>(0)}, 0);
}

} // namespace maskline
