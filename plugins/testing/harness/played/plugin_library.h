// A plugin library, opened as TensorRT's registry opens it.
#pragma once

#include "testing/harness/played/logger.h"

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

namespace harness
{

//! Opens a library, hands it a logger and asks for its creators.
class PluginLibrary
{
public:
    //! @throws std::runtime_error when it cannot be opened or is no plugin library.
    explicit PluginLibrary(std::string const& path);

    std::string const& path() const noexcept
    {
        return mPath;
    }

    std::vector<nvinfer1::IPluginCreatorV3One*> const& creators() const noexcept
    {
        return mCreators;
    }

    //! @throws std::runtime_error when there is none of that name.
    nvinfer1::IPluginCreatorV3One& creator(std::string const& name) const;

    RecordingLogger& logger() noexcept
    {
        return *mLogger;
    }

private:
    std::string mPath;
    std::unique_ptr<RecordingLogger> mLogger; //!< the library keeps its address
    std::vector<nvinfer1::IPluginCreatorV3One*> mCreators;
};

//! A plugin that its owner deletes, as TensorRT's callers must.
using PluginPtr = std::unique_ptr<nvinfer1::IPluginV3>;

template <typename Interface>
Interface& capability(nvinfer1::IPluginV3& plugin, nvinfer1::PluginCapabilityType type)
{
    return *static_cast<Interface*>(plugin.getCapabilityInterface(type));
}

inline nvinfer1::IPluginV3OneCore& core(nvinfer1::IPluginV3& plugin)
{
    return capability<nvinfer1::IPluginV3OneCore>(plugin, nvinfer1::PluginCapabilityType::kCORE);
}

inline nvinfer1::IPluginV3OneBuild& build(nvinfer1::IPluginV3& plugin)
{
    return capability<nvinfer1::IPluginV3OneBuild>(plugin, nvinfer1::PluginCapabilityType::kBUILD);
}

inline nvinfer1::IPluginV3OneRuntime& runtime(nvinfer1::IPluginV3& plugin)
{
    return capability<nvinfer1::IPluginV3OneRuntime>(plugin, nvinfer1::PluginCapabilityType::kRUNTIME);
}

} // namespace harness
