// A logger that keeps what plugins say.
#pragma once

#include <NvInferRuntime.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace harness
{

//! Keeps lines; any thread may write.
class RecordingLogger final : public nvinfer1::ILogger, public nvinfer1::ILoggerFinder
{
public:
    void log(Severity severity, nvinfer1::AsciiChar const* text) noexcept override
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        mLines.emplace_back(severity, text);
    }

    nvinfer1::ILogger* findLogger() override
    {
        return mIsFound ? this : nullptr;
    }

    //! From now on no logger is found, as while no engine calls the plugin.
    void hide() noexcept
    {
        mIsFound = false;
    }

    //! The texts of errors since the last call.
    std::vector<std::string> takeErrors()
    {
        return take(Severity::kERROR);
    }

    //! The texts of warnings and errors since the last call.
    std::vector<std::string> takeWarnings()
    {
        return take(Severity::kWARNING);
    }

private:
    std::vector<std::string> take(Severity least)
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        std::vector<std::string> texts;
        for (auto const& line : mLines)
        {
            if (line.first <= least)
            {
                texts.push_back(line.second);
            }
        }
        mLines.clear();
        return texts;
    }

    bool mIsFound{true};
    std::mutex mMutex;
    std::vector<std::pair<Severity, std::string>> mLines;
};

} // namespace harness
