// The edge to ONNX Runtime, over which nothing may be thrown.
#pragma once

#include "node/signature.h"
#include "ort/api.h"

#include <exception>
#include <string>
#include <utility>

namespace maskline
{

//! Runs `body` where nothing may be thrown: what it throws becomes ONNX Runtime's error.
template <typename Body>
OrtStatusPtr guarded(char const* op, Body&& body) noexcept
{
    try
    {
        body();
        return nullptr;
    }
    catch (NodeError const& error)
    {
        return Ort::GetApi().CreateStatus(ORT_INVALID_ARGUMENT, error.what());
    }
    catch (std::exception const& error)
    {
        return Ort::GetApi().CreateStatus(ORT_FAIL, (std::string(op) + ": " + error.what()).c_str());
    }
    catch (...)
    {
        return Ort::GetApi().CreateStatus(ORT_FAIL, (std::string(op) + ": an exception of unknown type").c_str());
    }
}

} // namespace maskline
