// `maskline_harness shim`: the Triton shim, opened in a process that has a libnvinfer.
#pragma once

#include <string>

namespace harness
{

//! Opens `nvinfer`, then the shim as Triton does, and prints the creators that are registered then.
//!
//! @return 0; 1 when a library cannot be opened, or nothing is registered.
int openShim(std::string const& shim, std::string const& nvinfer);

} // namespace harness
