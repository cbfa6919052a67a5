// The edge to Triton: its errors become exceptions inside, and ours its errors outside.
#pragma once

#include "triton/api.h"

#include <exception>
#include <stdexcept>
#include <string>

namespace maskline::triton
{

//! Throws what Triton refused.
inline void check(TRITONSERVER_Error* error)
{
    if (error != nullptr)
    {
        std::string const text = TRITONSERVER_ErrorMessage(error);
        TRITONSERVER_ErrorDelete(error);
        throw std::runtime_error(text);
    }
}

//! For what must go on whatever Triton says, as when a response is sent whose client has gone.
inline void ignore(TRITONSERVER_Error* error) noexcept
{
    if (error != nullptr)
    {
        TRITONSERVER_ErrorDelete(error);
    }
}

//! Runs `body` where nothing may be thrown: what it throws becomes Triton's error.
template <typename Body>
TRITONSERVER_Error* guarded(Body&& body) noexcept
{
    try
    {
        body();
        return nullptr;
    }
    catch (std::exception const& error)
    {
        return TRITONSERVER_ErrorNew(kERROR_INTERNAL, error.what());
    }
    catch (...)
    {
        return TRITONSERVER_ErrorNew(kERROR_INTERNAL, "maskline: an exception of unknown type");
    }
}

} // namespace maskline::triton
