// ONNX Runtime's C++ interface, filled in when the library is registered: nothing is linked to libonnxruntime.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <cstdint>

namespace maskline
{

//! The oldest interface that has all we call (parallel loops by ONNX Runtime's threads); newer ones contain it.
constexpr std::uint32_t kORT_API = 18;

} // namespace maskline
