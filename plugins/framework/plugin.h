// The frame of every plugin: an op says what is its own, and the templates here make the plugin and its creator of it.
#pragma once

#include "framework/base.h"
#include "framework/fields.h"
#include "framework/log.h"

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace maskline
{

//! The plugin of one op, `OP/on_device.h`.
template <typename Op>
class OpPlugin final : public PluginBase
{
public:
    using Attributes = typename Op::Attributes;

    explicit OpPlugin(Attributes const& attributes)
        : PluginBase(Op::signature(attributes))
        , mAttributes(attributes)
    {
        Op::visit(fields(), mAttributes);
    }

protected:
    std::unique_ptr<PluginBase> copy() const override
    {
        return std::make_unique<OpPlugin>(mAttributes);
    }

    std::string checkSizes(std::vector<Shape> const& inputs) const override
    {
        return Op::checkSizes(mAttributes, inputs);
    }

    std::size_t workspaceBytes(std::vector<Shape> const& inputs) const override
    {
        return Op::workspaceBytes(mAttributes, inputs);
    }

    cudaError_t launch(DeviceCall const& call) const override
    {
        return Op::launch(mAttributes, call);
    }

private:
    Attributes mAttributes;
};

//! Makes plugins of one op from TensorRT's fields.
template <typename Op>
class PluginCreator final : public nvinfer1::IPluginCreatorV3One
{
public:
    PluginCreator()
    {
        typename Op::Attributes const defaults{};
        Op::visit(mFields, defaults);
    }

    nvinfer1::IPluginV3* createPlugin(nvinfer1::AsciiChar const* name, nvinfer1::PluginFieldCollection const* fc,
        nvinfer1::TensorRTPhase) noexcept override
    {
        std::string const layer = name == nullptr || *name == '\0' ? "" : " (layer " + std::string(name) + ")";
        try
        {
            typename Op::Attributes attributes{};
            FieldReader reader(Op::kNAME, fc);
            Op::visit(reader, attributes);
            reader.finish();
            std::string const rule = attributes.check();
            if (!rule.empty())
            {
                throw NodeError(std::string(Op::kNAME) + ": " + rule);
            }
            return new OpPlugin<Op>(attributes);
        }
        catch (std::exception const& error)
        {
            logError(std::string("maskline: createPlugin: ") + error.what() + layer);
        }
        catch (...)
        {
            logError("maskline: createPlugin: " + std::string(Op::kNAME) + ": an exception of unknown type" + layer);
        }
        return nullptr;
    }

    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override
    {
        try
        {
            return mFields.announcement();
        }
        catch (...)
        {
            return nullptr;
        }
    }

    nvinfer1::AsciiChar const* getPluginName() const noexcept override
    {
        return Op::kNAME;
    }

    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override
    {
        return kPLUGIN_VERSION;
    }

    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override
    {
        return kPLUGIN_NAMESPACE;
    }

private:
    FieldList mFields;
};

} // namespace maskline
