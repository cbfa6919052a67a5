// A stand-in for libnvinfer with nothing but a plugin registry and a logger.
//
// The Triton shim is linked to it where there is no TensorRT, and the harness loads it to watch the shim register.
// MASKLINE_PLAY_REGISTRY=refuse makes the registry refuse every creator; =none: there is no registry.
// MASKLINE_PLAY_MAJOR=N: it says to be TensorRT N.
#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace
{

using nvinfer1::AsciiChar;
using nvinfer1::IPluginCreatorInterface;

bool isMode(char const* mode) noexcept
{
    char const* const asked = std::getenv("MASKLINE_PLAY_REGISTRY");
    return asked != nullptr && std::strcmp(asked, mode) == 0;
}

class StderrLogger final : public nvinfer1::ILogger
{
public:
    void log(Severity severity, AsciiChar const* text) noexcept override
    {
        std::fprintf(stderr, "[%d] %s\n", static_cast<int>(severity), text);
    }
};

//! Keeps the V3 creators that are registered; all else that a registry can do answers "nothing".
class Registry final : public nvinfer1::IPluginRegistry
{
public:
    bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const* const pluginNamespace) noexcept override
    {
        auto const& one = static_cast<nvinfer1::IPluginCreatorV3One&>(creator);
        if (isMode("refuse") || std::strcmp(one.getPluginNamespace(), pluginNamespace) != 0
            || getCreator(one.getPluginName(), one.getPluginVersion(), pluginNamespace) != nullptr)
        {
            return false;
        }
        mCreators.push_back(&creator);
        return true;
    }

    IPluginCreatorInterface* const* getAllCreators(std::int32_t* const numCreators) const noexcept override
    {
        *numCreators = static_cast<std::int32_t>(mCreators.size());
        return mCreators.data();
    }

    IPluginCreatorInterface* const* getAllCreatorsRecursive(std::int32_t* const numCreators) noexcept override
    {
        return getAllCreators(numCreators);
    }

    IPluginCreatorInterface* getCreator(AsciiChar const* const name, AsciiChar const* const version,
        AsciiChar const* const pluginNamespace) noexcept override
    {
        for (auto* const creator : mCreators)
        {
            auto const& one = static_cast<nvinfer1::IPluginCreatorV3One&>(*creator);
            if (std::strcmp(one.getPluginName(), name) == 0 && std::strcmp(one.getPluginVersion(), version) == 0
                && std::strcmp(one.getPluginNamespace(), pluginNamespace) == 0)
            {
                return creator;
            }
        }
        return nullptr;
    }

    void setErrorRecorder(nvinfer1::IErrorRecorder* const) noexcept override {}

    nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override
    {
        return nullptr;
    }

    bool deregisterCreator(IPluginCreatorInterface const&) noexcept override
    {
        return false;
    }

    bool isParentSearchEnabled() const override
    {
        return false;
    }

    void setParentSearchEnabled(bool const) override {}

    PluginLibraryHandle loadLibrary(AsciiChar const*) noexcept override
    {
        return nullptr;
    }

    void deregisterLibrary(PluginLibraryHandle) noexcept override {}

    nvinfer1::IPluginResource* acquirePluginResource(AsciiChar const*, nvinfer1::IPluginResource*) noexcept override
    {
        return nullptr;
    }

    std::int32_t releasePluginResource(AsciiChar const*) noexcept override
    {
        return -1;
    }

#if NV_TENSORRT_MAJOR < 11 // gone since
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    bool registerCreator(nvinfer1::IPluginCreator&, AsciiChar const* const) noexcept override
    {
        return false;
    }

    nvinfer1::IPluginCreator* const* getPluginCreatorList(std::int32_t* const numCreators) const noexcept override
    {
        *numCreators = 0;
        return nullptr;
    }

    nvinfer1::IPluginCreator* getPluginCreator(
        AsciiChar const* const, AsciiChar const* const, AsciiChar const* const) noexcept override
    {
        return nullptr;
    }

    bool deregisterCreator(nvinfer1::IPluginCreator const&) noexcept override
    {
        return false;
    }
#pragma GCC diagnostic pop
#endif

private:
    std::vector<IPluginCreatorInterface*> mCreators;
};

} // namespace

extern "C" nvinfer1::IPluginRegistry* getPluginRegistry() noexcept
{
    static Registry registry;
    return isMode("none") ? nullptr : &registry;
}

extern "C" nvinfer1::ILogger* getLogger() noexcept
{
    static StderrLogger logger;
    return &logger;
}

extern "C" std::int32_t getInferLibMajorVersion() noexcept
{
    char const* const asked = std::getenv("MASKLINE_PLAY_MAJOR");
    return asked == nullptr ? NV_TENSORRT_MAJOR : std::atoi(asked);
}
