// How the C interfaces report failure: a status, and a text that the caller's thread can read.
#pragma once

#include <exception>
#include <string>

namespace maskline
{

//! What the C functions return.
enum Status : int
{
    kSUCCESS = 0,
    kINVALID_ARGUMENT = 1,
    kINTERNAL_ERROR = 2,
};

//! Keeps `text` for `maskline_last_error` of this thread.
void setLastError(std::string text) noexcept;

//! The text of this thread's last failure.
char const* lastError() noexcept;

//! "" or the text of a launch that CUDA refused with `code`, a cudaError_t.
inline std::string refusedLaunch(int code)
{
    return code == 0 ? "" : "launch refused, CUDA error " + std::to_string(code);
}

//! Runs `body`, which returns an error text or nothing, at an edge that must not throw.
//!
//! @param op stands before every text: a caller of several ops learns which one failed.
template <typename Body>
int guarded(char const* op, Body&& body) noexcept
{
    try
    {
        std::string const text = body();
        if (text.empty())
        {
            return kSUCCESS;
        }
        setLastError(std::string(op) + ": " + text);
        return kINVALID_ARGUMENT;
    }
    catch (std::exception const& error)
    {
        setLastError(std::string(op) + ": " + error.what());
    }
    catch (...)
    {
        setLastError(std::string(op) + ": an exception of unknown type");
    }
    return kINTERNAL_ERROR;
}

} // namespace maskline
