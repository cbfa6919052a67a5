#include "framework/base.h"

#include "framework/formats.h"
#include "framework/log.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <limits>
#include <stdexcept>
#include <utility>

namespace maskline
{

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::ErrorCode;
using nvinfer1::PluginTensorDesc;

namespace
{

Shape shapeOf(Dims const& dims)
{
    return {dims.d, dims.d + dims.nbDims};
}

//! What `pick` takes of each of `count` things.
template <typename Thing, typename Pick>
std::vector<Shape> shapesOf(Thing const* things, std::int32_t count, Pick const& pick)
{
    std::vector<Shape> shapes;
    shapes.reserve(static_cast<std::size_t>(count));
    for (std::int32_t i = 0; i < count; ++i)
    {
        shapes.push_back(pick(things[i]));
    }
    return shapes;
}

Shape actual(PluginTensorDesc const& description)
{
    return shapeOf(description.dims);
}

Shape smallest(DynamicPluginTensorDesc const& description)
{
    return shapeOf(description.min);
}

Shape largest(DynamicPluginTensorDesc const& description)
{
    return shapeOf(description.max);
}

//! The lengths that are known while the network is built, -1 for the others.
Shape constants(DimsExprs const& expressions)
{
    Shape shape;
    for (std::int32_t i = 0; i < expressions.nbDims; ++i)
    {
        shape.push_back(expressions.d[i]->isConstant() ? expressions.d[i]->getConstantValue() : -1);
    }
    return shape;
}

} // namespace

PluginBase::PluginBase(Signature signature)
    : mSignature(std::move(signature))
{}

//! Runs `body` where nothing may be thrown: what it throws goes to TensorRT's log and becomes an error code.
template <typename Body>
std::int32_t PluginBase::guarded(char const* method, Body&& body) const noexcept
{
    try
    {
        body();
        return static_cast<std::int32_t>(ErrorCode::kSUCCESS);
    }
    catch (NodeError const& error)
    {
        logError(std::string("maskline: ") + method + ": " + error.what());
        return static_cast<std::int32_t>(ErrorCode::kINVALID_ARGUMENT);
    }
    catch (std::exception const& error)
    {
        logError(std::string("maskline: ") + method + ": " + mSignature.op() + ": " + error.what());
    }
    catch (...)
    {
        logError(std::string("maskline: ") + method + ": " + mSignature.op() + ": an exception of unknown type");
    }
    return static_cast<std::int32_t>(ErrorCode::kFAILED_EXECUTION);
}

nvinfer1::IPluginCapability* PluginBase::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept
{
    switch (type)
    {
    case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* PluginBase::clone() noexcept
{
    PluginBase* twin = nullptr;
    guarded("clone", [&] { twin = copy().release(); });
    return twin;
}

nvinfer1::IPluginV3* PluginBase::attachToContext(nvinfer1::IPluginResourceContext*) noexcept
{
    return clone();
}

nvinfer1::AsciiChar const* PluginBase::getPluginName() const noexcept
{
    return mSignature.op().c_str();
}

nvinfer1::AsciiChar const* PluginBase::getPluginVersion() const noexcept
{
    return kPLUGIN_VERSION;
}

nvinfer1::AsciiChar const* PluginBase::getPluginNamespace() const noexcept
{
    return kPLUGIN_NAMESPACE;
}

std::int32_t PluginBase::getNbOutputs() const noexcept
{
    return static_cast<std::int32_t>(mSignature.outputs().size());
}

void PluginBase::checkKnown(std::vector<Shape> const& inputs) const
{
    mSignature.checkShapes(inputs);
    auto const isUnknown
        = [](Shape const& shape) { return std::any_of(shape.begin(), shape.end(), [](auto n) { return n < 0; }); };
    std::string const rule = std::any_of(inputs.begin(), inputs.end(), isUnknown) ? "" : checkSizes(inputs);
    if (!rule.empty())
    {
        throw NodeError(mSignature.op() + ": " + rule);
    }
}

void PluginBase::checkFormats(PluginTensorDesc const* in, PluginTensorDesc const* out) const
{
    auto const numInputs = static_cast<std::int32_t>(mSignature.inputs().size());
    auto const at = [=](std::int32_t position) -> PluginTensorDesc const& {
        return position < numInputs ? in[position] : out[position - numInputs];
    };
    for (std::int32_t position = 0; position < numInputs + getNbOutputs(); ++position)
    {
        if (!isSupported(mSignature, position, at))
        {
            throw NodeError(mSignature.op() + (position < numInputs ? ": input " : ": output ")
                + mSignature.tensor(position).name + ": got " + describe(at(position).type, at(position).format)
                + ", expected " + describe(mSignature.tensor(position).kind));
        }
    }
}

std::int32_t PluginBase::configurePlugin(DynamicPluginTensorDesc const* in, std::int32_t nbInputs,
    DynamicPluginTensorDesc const*, std::int32_t nbOutputs) noexcept
{
    return guarded("configurePlugin", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        mSignature.checkShapes(shapesOf(
            in, nbInputs, [](DynamicPluginTensorDesc const& description) { return actual(description.desc); }));
        checkKnown(shapesOf(in, nbInputs, smallest));
        checkKnown(shapesOf(in, nbInputs, largest));
    });
}

std::int32_t PluginBase::getOutputDataTypes(
    DataType* outputTypes, std::int32_t nbOutputs, DataType const* inputTypes, std::int32_t nbInputs) const noexcept
{
    return guarded("getOutputDataTypes", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        for (std::int32_t i = 0; i < nbInputs; ++i)
        {
            auto const& input = mSignature.inputs()[static_cast<std::size_t>(i)];
            if (!isAllowed(input.kind, inputTypes[i], nvinfer1::TensorFormat::kLINEAR))
            {
                // No error: a network that is not strongly typed may still convert it.
                log(nvinfer1::ILogger::Severity::kWARNING,
                    "maskline: " + mSignature.op() + ": input " + input.name + ": comes as "
                        + describe(inputTypes[i], nvinfer1::TensorFormat::kLINEAR) + ", taken only as "
                        + describe(input.kind) + ": a strongly typed network must cast it");
            }
        }
        for (std::int32_t i = 0; i < nbOutputs; ++i)
        {
            switch (mSignature.outputs()[static_cast<std::size_t>(i)].kind)
            {
            case TensorKind::kINT32: outputTypes[i] = DataType::kINT32; break;
            case TensorKind::kFEATURES: outputTypes[i] = inputTypes[mSignature.firstFeatures()]; break;
            default: outputTypes[i] = DataType::kFLOAT; break;
            }
        }
    });
}

std::int32_t PluginBase::getOutputShapes(DimsExprs const* inputs, std::int32_t nbInputs, DimsExprs const*, std::int32_t,
    DimsExprs* outputs, std::int32_t nbOutputs, nvinfer1::IExprBuilder& exprBuilder) noexcept
{
    return guarded("getOutputShapes", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        mSignature.checkShapes(shapesOf(inputs, nbInputs, constants));
        outputShapes(mSignature, inputs, outputs, exprBuilder);
    });
}

bool PluginBase::supportsFormatCombination(
    std::int32_t pos, DynamicPluginTensorDesc const* inOut, std::int32_t nbInputs, std::int32_t nbOutputs) noexcept
{
    bool supported = false;
    guarded("supportsFormatCombination", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        if (pos < 0 || pos >= nbInputs + nbOutputs)
        {
            throw NodeError(mSignature.op() + ": got tensor " + std::to_string(pos) + ", expected 0.."
                + std::to_string(nbInputs + nbOutputs - 1));
        }
        supported
            = isSupported(mSignature, pos, [=](std::int32_t i) -> PluginTensorDesc const& { return inOut[i].desc; });
    });
    return supported;
}

std::size_t PluginBase::getWorkspaceSize(DynamicPluginTensorDesc const* inputs, std::int32_t nbInputs,
    DynamicPluginTensorDesc const*, std::int32_t nbOutputs) const noexcept
{
    // More than any machine has, should the shapes be wrong: TensorRT must not go on with too little.
    std::size_t bytes = std::numeric_limits<std::size_t>::max();
    guarded("getWorkspaceSize", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        auto const shapes = shapesOf(inputs, nbInputs, largest);
        checkKnown(shapes);
        bytes = workspaceBytes(shapes);
    });
    return bytes;
}

char const* PluginBase::getTimingCacheID() noexcept
{
    char const* text = nullptr;
    guarded("getTimingCacheID", [&] {
        mText = mText.empty() ? mFields.text() : mText;
        text = mText.c_str();
    });
    return text;
}

char const* PluginBase::getMetadataString() noexcept
{
    return getTimingCacheID();
}

nvinfer1::PluginFieldCollection const* PluginBase::getFieldsToSerialize() noexcept
{
    return mFields.collection();
}

std::int32_t PluginBase::onShapeChange(
    PluginTensorDesc const* in, std::int32_t nbInputs, PluginTensorDesc const* out, std::int32_t nbOutputs) noexcept
{
    return guarded("onShapeChange", [&] {
        mSignature.checkCounts(nbInputs, nbOutputs);
        checkFormats(in, out);
        checkKnown(shapesOf(in, nbInputs, actual));
    });
}

std::int32_t PluginBase::enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc,
    void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept
{
    return guarded("enqueue", [&] {
        // Nothing is remembered from onShapeChange, so that a plugin has no state: checking again costs a microsecond.
        checkFormats(inputDesc, outputDesc);
        auto const numInputs = static_cast<std::int32_t>(mSignature.inputs().size());
        auto shapes = shapesOf(inputDesc, numInputs, actual);
        checkKnown(shapes);
        std::int64_t elements = 0;
        for (auto const& shape : mSignature.outputShapes(shapes))
        {
            elements += volume(shape);
        }
        if (elements == 0)
        {
            return;
        }
        auto const& first = inputDesc[std::max(mSignature.firstFeatures(), 0)];
        bool const packed = first.format == nvinfer1::TensorFormat::kHWC8;
        cudaError_t const status
            = launch({{std::move(shapes), realTypeOf(first.type), packed, inputs, outputs}, workspace, stream});
        if (status != cudaSuccess)
        {
            throw std::runtime_error(std::string("the launch was refused: ") + cudaGetErrorString(status));
        }
    });
}

} // namespace maskline
