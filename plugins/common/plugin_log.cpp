#include "common/plugin_log.h"

#include <atomic>
#include <cstdio>

namespace maskline
{
namespace
{
std::atomic<nvinfer1::ILoggerFinder*> gFinder{nullptr};

nvinfer1::ILogger* findLogger() noexcept
{
    auto* const finder = gFinder.load();
    try
    {
        return finder == nullptr ? nullptr : finder->findLogger();
    }
    catch (...)
    {
        return nullptr; // findLogger may throw by its signature; the line then goes to stderr
    }
}
} // namespace

void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept
{
    gFinder = finder;
}

void log(nvinfer1::ILogger::Severity severity, std::string const& text) noexcept
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
    log(nvinfer1::ILogger::Severity::kERROR, text);
}

} // namespace maskline
