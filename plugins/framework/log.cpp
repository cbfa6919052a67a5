#include "framework/log.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <string>

namespace maskline
{
namespace
{
using nvinfer1::ILogger;
using GetLogger = ILogger* (*)();

std::atomic<nvinfer1::ILoggerFinder*> gFinder{nullptr};

//! The TensorRT that the process has loaded.
struct Runtime
{
    std::string otherVersion; //!< name and version, where its headers are not those of this library; else empty
    GetLogger getLogger{nullptr};
};

//! Looks at one library of the process; this one links no libnvinfer, and that of the process is often not in the
//! global scope (Python), so it is looked up by name.
int findRuntime(dl_phdr_info* info, std::size_t, void* found)
{
    char const* const slash = info->dlpi_name == nullptr ? nullptr : std::strrchr(info->dlpi_name, '/');
    if (slash == nullptr
        || (std::strncmp(slash, "/libnvinfer", 11) != 0 && std::strncmp(slash, "/libtensorrt", 12) != 0))
    {
        return 0;
    }
    void* const library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr)
    {
        return 0;
    }
    auto const getMajor = reinterpret_cast<std::int32_t (*)()>(dlsym(library, "getInferLibMajorVersion"));
    auto const getLogger = reinterpret_cast<GetLogger>(dlsym(library, "getLogger"));
    dlclose(library); // the process keeps it
    if (getMajor != nullptr && getLogger != nullptr)
    {
        auto& runtime = *static_cast<Runtime*>(found);
        runtime.getLogger = getLogger;
        if (getMajor() != NV_TENSORRT_MAJOR)
        {
            runtime.otherVersion = std::string(slash + 1) + " of version " + std::to_string(getMajor());
        }
    }
    return 0;
}

//! Where to log; nullptr: to stderr.
//!
//! The layout of ILogger changed from TensorRT 10 to 11: a logger of another major version than that of the headers
//! must not be called.
ILogger* findLogger() noexcept
{
    try
    {
        Runtime runtime;
        dl_iterate_phdr(findRuntime, &runtime);
        if (!runtime.otherVersion.empty())
        {
            static std::once_flag once;
            std::call_once(once, [&] {
                std::fprintf(stderr,
                    "maskline: compiled for TensorRT %d.%d, loaded beside %s: rebuild it with the headers of that "
                    "TensorRT; until then what it has to say comes here\n",
                    NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, runtime.otherVersion.c_str());
            });
            return nullptr;
        }
        auto* const finder = gFinder.load();
        auto* const logger = finder == nullptr ? nullptr : finder->findLogger();
        // No engine calls createPlugin: then it is TensorRT's own logger.
        return logger == nullptr && runtime.getLogger != nullptr ? runtime.getLogger() : logger;
    }
    catch (...)
    {
        return nullptr; // findLogger may throw by its signature
    }
}
} // namespace

void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept
{
    gFinder = finder;
}

void log(ILogger::Severity severity, std::string const& text) noexcept
{
    if (auto* const logger = findLogger())
    {
        logger->log(severity, text.c_str());
        return;
    }
    std::fprintf(stderr, "%s\n", text.c_str());
}

void logError(std::string const& text) noexcept
{
    log(ILogger::Severity::kERROR, text);
}

} // namespace maskline
