// What all our TensorRT plugins do alike: IPluginV3 with its three capabilities.
//
// plugin.h makes a plugin of it from what an op says of itself. Everything that TensorRT may get wrong is checked here,
// and nothing is ever thrown at TensorRT: a failure is one line in its log and an error code.
#pragma once

#include "framework/fields.h"
#include "node/device_call.h"
#include "node/signature.h"

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace maskline
{

constexpr char const* kPLUGIN_NAMESPACE = "maskline";
constexpr char const* kPLUGIN_VERSION = "1";

class PluginBase : public nvinfer1::IPluginV3,
                   public nvinfer1::IPluginV3OneCore,
                   public nvinfer1::IPluginV3OneBuild,
                   public nvinfer1::IPluginV3OneRuntime
{
public:
    PluginBase(PluginBase const&) = delete;
    PluginBase& operator=(PluginBase const&) = delete;

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept final;
    nvinfer1::IPluginV3* clone() noexcept final;

    // IPluginV3OneCore
    nvinfer1::AsciiChar const* getPluginName() const noexcept final;
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept final;
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept final;

    // IPluginV3OneBuild
    std::int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, std::int32_t nbInputs,
        nvinfer1::DynamicPluginTensorDesc const* out, std::int32_t nbOutputs) noexcept final;
    std::int32_t getOutputDataTypes(nvinfer1::DataType* outputTypes, std::int32_t nbOutputs,
        nvinfer1::DataType const* inputTypes, std::int32_t nbInputs) const noexcept final;
    std::int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, std::int32_t nbInputs,
        nvinfer1::DimsExprs const* shapeInputs, std::int32_t nbShapeInputs, nvinfer1::DimsExprs* outputs,
        std::int32_t nbOutputs, nvinfer1::IExprBuilder& exprBuilder) noexcept final;
    bool supportsFormatCombination(std::int32_t pos, nvinfer1::DynamicPluginTensorDesc const* inOut,
        std::int32_t nbInputs, std::int32_t nbOutputs) noexcept final;
    std::int32_t getNbOutputs() const noexcept final;
    std::size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* inputs, std::int32_t nbInputs,
        nvinfer1::DynamicPluginTensorDesc const* outputs, std::int32_t nbOutputs) const noexcept final;
    char const* getTimingCacheID() noexcept final;
    char const* getMetadataString() noexcept final;

    // IPluginV3OneRuntime
    std::int32_t onShapeChange(nvinfer1::PluginTensorDesc const* in, std::int32_t nbInputs,
        nvinfer1::PluginTensorDesc const* out, std::int32_t nbOutputs) noexcept final;
    std::int32_t enqueue(nvinfer1::PluginTensorDesc const* inputDesc, nvinfer1::PluginTensorDesc const* outputDesc,
        void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept final;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept final;
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept final;

protected:
    explicit PluginBase(Signature signature);

    //! The attributes, for what an engine stores; the derived constructor fills it.
    FieldList& fields() noexcept
    {
        return mFields;
    }

    //! A plugin with the same attributes.
    virtual std::unique_ptr<PluginBase> copy() const = 0;

    //! Checks what the signature cannot say; the shapes of the inputs are all known and have passed the signature.
    //!
    //! @return "" or the rule that is broken.
    virtual std::string checkSizes(std::vector<Shape> const& inputs) const = 0;

    //! Bytes of workspace that inputs of these shapes, or smaller ones, need.
    virtual std::size_t workspaceBytes(std::vector<Shape> const& inputs) const = 0;

    //! Queues the op. Never called when all outputs are empty.
    virtual cudaError_t launch(DeviceCall const& call) const = 0;

private:
    void checkKnown(std::vector<Shape> const& inputs) const;
    void checkFormats(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const* out) const;

    template <typename Body>
    std::int32_t guarded(char const* method, Body&& body) const noexcept;

    Signature mSignature;
    FieldList mFields;
    std::string mText; //!< all attributes, made when first asked for
};

} // namespace maskline
