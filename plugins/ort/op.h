// The frame of every custom op of ONNX Runtime: an op says what is its own, and the templates here make the rest.
#pragma once

#include "node/call.h"
#include "node/signature.h"
#include "ort/api.h"
#include "ort/guarded.h"
#include "ort/node_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace maskline
{

//! What `node/signature.h` calls a kind, as ONNX Runtime's type.
inline ONNXTensorElementDataType typeOf(TensorKind kind, ONNXTensorElementDataType features)
{
    switch (kind)
    {
    case TensorKind::kFLOAT32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case TensorKind::kINT32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    default: return features;
    }
}

inline RealType realTypeOf(ONNXTensorElementDataType features)
{
    switch (features)
    {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return RealType::kFLOAT16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return RealType::kBFLOAT16;
    default: return RealType::kFLOAT32;
    }
}

//! Reads and checks all attributes of a node.
//!
//! @throws NodeError.
template <typename Op, typename Source>
typename Op::Attributes readAttributes(Source& source)
{
    typename Op::Attributes attributes{};
    NodeReader<Source> reader(Op::kNAME, source);
    Op::visit(reader, attributes);
    std::string const rule = attributes.check();
    if (!rule.empty())
    {
        throw NodeError(std::string(Op::kNAME) + ": " + rule);
    }
    return attributes;
}

//! A node of one op, ready to run.
//!
//! @tparam Place where: ort/on_cpu.h, ort/on_cuda.h.
template <typename Op, ONNXTensorElementDataType FEATURES, typename Place>
class OpKernel
{
public:
    explicit OpKernel(OrtKernelInfo const* info)
        : mAttributes(attributesOf(info))
        , mSignature(Op::signature(mAttributes))
    {
        Ort::ConstKernelInfo const node(info);
        mSignature.checkCounts(
            static_cast<std::int32_t>(node.GetInputCount()), static_cast<std::int32_t>(node.GetOutputCount()));
    }

    OrtStatusPtr ComputeV2(OrtKernelContext* context) noexcept
    {
        return guarded(Op::kNAME, [&] { compute(context); });
    }

private:
    static typename Op::Attributes attributesOf(OrtKernelInfo const* info)
    {
        Ort::ConstKernelInfo node(info);
        return readAttributes<Op>(node);
    }

    void compute(OrtKernelContext* given) const
    {
        Ort::KernelContext const context(given);
        std::vector<Shape> shapes;
        std::vector<void const*> inputs;
        for (std::size_t i = 0; i < context.GetInputCount(); ++i)
        {
            Ort::ConstValue const input = context.GetInput(i);
            shapes.push_back(input.GetTensorTypeAndShapeInfo().GetShape());
            inputs.push_back(input.GetTensorRawData());
        }
        mSignature.checkShapes(shapes);
        std::string const rule = Op::checkSizes(mAttributes, shapes);
        if (!rule.empty())
        {
            throw NodeError(std::string(Op::kNAME) + ": " + rule);
        }
        std::vector<void*> outputs;
        std::int64_t elements = 0;
        for (Shape const& shape : mSignature.outputShapes(shapes))
        {
            outputs.push_back(context.GetOutput(outputs.size(), shape).GetTensorMutableRawData());
            elements += volume(shape);
        }
        if (elements > 0)
        {
            Place::template run<Op>(
                given, mAttributes, {std::move(shapes), realTypeOf(FEATURES), false, inputs.data(), outputs.data()});
        }
    }

    typename Op::Attributes mAttributes;
    Signature mSignature;
};

//! What ONNX Runtime asks of one op, `OP/on_host.h` or `OP/on_device.h`, with features of one type at one place.
template <typename Op, ONNXTensorElementDataType FEATURES, typename Place>
class CustomOp final : public Ort::CustomOpBase<CustomOp<Op, FEATURES, Place>, OpKernel<Op, FEATURES, Place>, true>
{
public:
    CustomOp()
    {
        this->version = kORT_API;
        this->InferOutputShapeFn
            = [](OrtCustomOp const*, OrtShapeInferContext* context) { return inferShapes(context); };
    }

    OrtStatusPtr CreateKernelV2(OrtApi const&, OrtKernelInfo const* info, void** kernel) const noexcept
    {
        return guarded(Op::kNAME, [&] { *kernel = new OpKernel<Op, FEATURES, Place>(info); });
    }

    char const* GetName() const
    {
        return Op::kNAME;
    }

    char const* GetExecutionProviderType() const
    {
        return Place::kPROVIDER;
    }

    std::size_t GetInputTypeCount() const
    {
        return std::min(mExample.inputs().size(), Op::kFIRST_OF_MANY + 1);
    }

    ONNXTensorElementDataType GetInputType(std::size_t i) const
    {
        return typeOf(mExample.inputs()[i].kind, FEATURES);
    }

    OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(std::size_t i) const
    {
        return i == Op::kFIRST_OF_MANY ? INPUT_OUTPUT_VARIADIC : INPUT_OUTPUT_REQUIRED;
    }

    std::size_t GetOutputTypeCount() const
    {
        return mExample.outputs().size();
    }

    ONNXTensorElementDataType GetOutputType(std::size_t i) const
    {
        return typeOf(mExample.outputs()[i].kind, FEATURES);
    }

private:
    //! What is known of the shapes of the outputs before anything runs; what is wrong with the node fails the load.
    static OrtStatusPtr inferShapes(OrtShapeInferContext* given) noexcept
    {
        return guarded(Op::kNAME, [&] {
            InferredNode context(given);
            auto const attributes = readAttributes<Op>(context);
            Signature const signature = Op::signature(attributes);
            signature.checkCounts(static_cast<std::int32_t>(context.GetInputCount()),
                static_cast<std::int32_t>(signature.outputs().size()));
            std::vector<Shape> inputs;
            for (std::size_t i = 0; i < context.GetInputCount(); ++i)
            {
                Shape shape;
                for (auto const& length : context.GetInputShape(i))
                {
                    shape.push_back(length.IsInt() ? std::max<std::int64_t>(length.AsInt(), -1) : -1);
                }
                if (shape.empty())
                {
                    return; // nothing is known of this input, or it is a scalar, which the run refuses
                }
                inputs.push_back(std::move(shape));
            }
            signature.checkShapes(inputs);
            std::vector<Shape> const lengths = signature.outputShapes(inputs);
            for (std::size_t i = 0; i < lengths.size(); ++i)
            {
                Tensor const& output = signature.outputs()[i];
                std::vector<char const*> names(lengths[i].size(), "");
                for (std::size_t axis = 0; axis < lengths[i].size(); ++axis)
                {
                    if (lengths[i][axis] < 0 && !output.dims[axis].isProduct())
                    {
                        auto const [input, from] = signature.origin(output.dims[axis].first());
                        auto const& length = context.GetInputShape(input)[from];
                        names[axis] = length.IsInt() ? "" : length.AsSym();
                    }
                }
                sayShape(given, i, lengths[i], names, typeOf(output.kind, FEATURES));
            }
        });
    }

    //! Says it, unless a length has neither a number nor a name: that cannot be said.
    static void sayShape(OrtShapeInferContext* context, std::size_t output, Shape const& lengths,
        std::vector<char const*> const& names, ONNXTensorElementDataType type)
    {
        for (std::size_t axis = 0; axis < lengths.size(); ++axis)
        {
            if (lengths[axis] < 0 && *names[axis] == '\0')
            {
                return;
            }
        }
        OrtApi const& api = Ort::GetApi();
        OrtTensorTypeAndShapeInfo* made = nullptr;
        Ort::ThrowOnError(api.CreateTensorTypeAndShapeInfo(&made));
        std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(api.ReleaseTensorTypeAndShapeInfo)> const info(
            made, api.ReleaseTensorTypeAndShapeInfo);
        Ort::ThrowOnError(api.SetTensorElementType(made, type));
        Ort::ThrowOnError(api.SetDimensions(made, lengths.data(), lengths.size()));
        // The C++ interface's own function would pass -2 for a name, which newer versions refuse.
        std::vector<char const*> said = names;
        Ort::ThrowOnError(api.SetSymbolicDimensions(made, said.data(), said.size()));
        Ort::ThrowOnError(api.ShapeInferContext_SetOutputTypeShape(context, output, made));
    }

    Signature mExample{Op::signature(Op::example())};
};

//! The custom ops of some ops at one place, made once: ONNX Runtime keeps pointers to them for as long as it lives.
template <typename Place, typename... Ops>
std::vector<OrtCustomOp const*> customOps()
{
    std::vector<OrtCustomOp const*> found;
    auto const add = [&](auto op) {
        using Op = decltype(op);
        static CustomOp<Op, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, Place> const ofFloat;
        found.push_back(&ofFloat);
        if (Op::signature(Op::example()).isOfManyTypes())
        {
            static CustomOp<Op, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, Place> const ofHalf;
            static CustomOp<Op, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, Place> const ofBfloat;
            found.push_back(&ofHalf);
            found.push_back(&ofBfloat);
        }
    };
    (add(Ops{}), ...);
    return found;
}

} // namespace maskline
