#include "common/status.h"

#include "common/c_head.h"
#include "common/export.h"

#include <utility>

namespace maskline
{
namespace
{
thread_local std::string gLastError;
} // namespace

void setLastError(std::string text) noexcept
{
    gLastError = std::move(text);
}

char const* lastError() noexcept
{
    return gLastError.c_str();
}

} // namespace maskline

//! The text of the calling thread's last failure; valid until its next call.
MASKLINE_API char const* maskline_last_error()
{
    return maskline::lastError();
}

//! The C interface that this library has: a caller written for another one must not call it.
MASKLINE_API int maskline_interface()
{
    return maskline::kINTERFACE;
}
