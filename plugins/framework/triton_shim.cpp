// Registers the plugins inside Triton.
//
// Triton's `--backend-config=tensorrt,plugins=...` only opens the libraries it is given. This one, once opened, opens
// libmaskline_trt.so beside it and registers its creators in the registry of the libnvinfer that the process has. A
// failure can only be logged: the engine that wants a plugin then says that it is missing.
#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <dlfcn.h>
#include <exception>
#include <string>

namespace
{

constexpr char const* kLIBRARY = "libmaskline_trt.so";

//! Gives the plugins TensorRT's own logger.
class GlobalLogger final : public nvinfer1::ILoggerFinder
{
public:
    nvinfer1::ILogger* findLogger() override
    {
        return getLogger();
    }
};

void report(nvinfer1::ILogger::Severity severity, std::string const& text) noexcept
{
    if (auto* const logger = getLogger())
    {
        logger->log(severity, text.c_str());
        return;
    }
    std::fprintf(stderr, "%s\n", text.c_str());
}

void fail(std::string const& text) noexcept
{
    report(nvinfer1::ILogger::Severity::kERROR, "maskline: " + text + "; the plugins of the engine will be missing");
}

//! The folder of this library, with a slash at its end.
std::string folder()
{
    Dl_info info{};
    if (dladdr(reinterpret_cast<void const*>(&kLIBRARY), &info) == 0 || info.dli_fname == nullptr)
    {
        return "";
    }
    std::string const path = info.dli_fname;
    return path.substr(0, path.rfind('/') + 1);
}

void registerAll()
{
    std::string const path = folder() + kLIBRARY;
    // Never closed: TensorRT keeps pointers into it.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
    {
        fail("cannot open " + path + ": " + dlerror());
        return;
    }
    using GetCreators = nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&);
    using SetLoggerFinder = void (*)(nvinfer1::ILoggerFinder*);
    auto const getCreators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
    auto const setLoggerFinder = reinterpret_cast<SetLoggerFinder>(dlsym(library, "setLoggerFinder"));
    auto* const registry = getPluginRegistry();
    if (getCreators == nullptr || setLoggerFinder == nullptr || registry == nullptr)
    {
        fail(registry == nullptr ? "TensorRT has no plugin registry" : path + " is no plugin library of ours");
        return;
    }
    static GlobalLogger logger;
    setLoggerFinder(&logger);
    std::int32_t numCreators = 0;
    auto* const* const creators = getCreators(numCreators);
    for (std::int32_t i = 0; i < numCreators; ++i)
    {
        auto& creator = *static_cast<nvinfer1::IPluginCreatorV3One*>(creators[i]);
        std::string const name = creator.getPluginName();
        if (registry->registerCreator(creator, creator.getPluginNamespace()))
        {
            report(nvinfer1::ILogger::Severity::kVERBOSE, "maskline: registered " + name);
        }
        else
        {
            fail("TensorRT refuses to register " + name + ": is it registered already?");
        }
    }
}

//! What runs when the library is opened.
struct Registrar
{
    Registrar() noexcept
    {
        try
        {
            registerAll();
        }
        catch (std::exception const& error)
        {
            fail(std::string("registering failed: ") + error.what());
        }
        catch (...)
        {
            fail("registering failed: an exception of unknown type");
        }
    }
};

Registrar const gRegistrar;

} // namespace
