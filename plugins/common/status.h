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

//! Runs `body`, which returns an error text or nothing, at an edge that must not throw.
template <typename Body>
int guarded(Body&& body) noexcept
{
    try
    {
        std::string const text = body();
        if (text.empty())
        {
            return kSUCCESS;
        }
        setLastError(text);
        return kINVALID_ARGUMENT;
    }
    catch (std::exception const& error)
    {
        setLastError(error.what());
    }
    catch (...)
    {
        setLastError("an exception of unknown type");
    }
    return kINTERNAL_ERROR;
}

} // namespace maskline
