#include "testing/harness/shim.h"

#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <dlfcn.h>

namespace harness
{

int openShim(std::string const& shim, std::string const& nvinfer)
{
    void* const play = dlopen(nvinfer.c_str(), RTLD_NOW | RTLD_GLOBAL);
    void* const opened = play == nullptr ? nullptr : dlopen(shim.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (opened == nullptr)
    {
        std::fprintf(stderr, "error: %s\n", dlerror());
        return 1;
    }
    using GetPluginRegistry = nvinfer1::IPluginRegistry* (*)();
    auto const getRegistry = reinterpret_cast<GetPluginRegistry>(dlsym(play, "getPluginRegistry"));
    auto* const registry = getRegistry == nullptr ? nullptr : getRegistry();
    if (registry == nullptr)
    {
        std::fprintf(stderr, "error: %s has no plugin registry\n", nvinfer.c_str());
        return 1;
    }
    std::int32_t number = 0;
    auto* const* const creators = registry->getAllCreators(&number);
    int ours = 0;
    for (std::int32_t i = 0; i < number; ++i)
    {
        auto const& creator = *static_cast<nvinfer1::IPluginCreatorV3One*>(creators[i]);
        bool const isOurs = std::string(creator.getPluginNamespace()) == "maskline";
        ours += isOurs ? 1 : 0;
        if (isOurs)
        {
            std::printf("%s::%s version %s\n", creator.getPluginNamespace(), creator.getPluginName(),
                creator.getPluginVersion());
        }
    }
    return ours > 0 ? 0 : 1;
}

} // namespace harness
