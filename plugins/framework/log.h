// The way from a plugin to TensorRT's log.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace maskline
{

//! Keeps what TensorRT handed the library to find its logger by; nullptr: none.
void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept;

//! Writes one warning or error to the logger of the engine that called the plugin in this thread, else to TensorRT's
//! own, else to stderr.
void log(nvinfer1::ILogger::Severity severity, std::string const& text) noexcept;

//! An error's one line.
void logError(std::string const& text) noexcept;

} // namespace maskline
