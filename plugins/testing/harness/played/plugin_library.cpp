#include "testing/harness/played/plugin_library.h"

#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <stdexcept>

namespace harness
{

PluginLibrary::PluginLibrary(std::string const& path)
    : mPath(path)
    , mLogger(std::make_unique<RecordingLogger>())
{
    // Kept open to the end of the process: its creators and plugins may outlive this object.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
    {
        throw std::runtime_error(std::string("cannot open: ") + dlerror());
    }
    using GetCreators = nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&);
    using SetLoggerFinder = void (*)(nvinfer1::ILoggerFinder*);
    auto const getCreators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
    auto const setLoggerFinder = reinterpret_cast<SetLoggerFinder>(dlsym(library, "setLoggerFinder"));
    if (getCreators == nullptr || setLoggerFinder == nullptr)
    {
        throw std::runtime_error(path + ": no plugin library: getCreators or setLoggerFinder is missing");
    }
    setLoggerFinder(mLogger.get());
    std::int32_t number = 0;
    auto* const* const creators = getCreators(number);
    for (std::int32_t i = 0; i < number; ++i)
    {
        if (std::strcmp(creators[i]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") != 0)
        {
            throw std::runtime_error(path + ": creator " + std::to_string(i) + " is a "
                + creators[i]->getInterfaceInfo().kind + ", expected PLUGIN CREATOR_V3ONE");
        }
        mCreators.push_back(static_cast<nvinfer1::IPluginCreatorV3One*>(creators[i]));
    }
}

nvinfer1::IPluginCreatorV3One& PluginLibrary::creator(std::string const& name) const
{
    std::string known;
    for (auto* const creator : mCreators)
    {
        if (creator->getPluginName() == name)
        {
            return *creator;
        }
        known += std::string(known.empty() ? "" : ", ") + creator->getPluginName();
    }
    throw std::runtime_error(mPath + ": no creator of " + name + "; there are " + known);
}

} // namespace harness
