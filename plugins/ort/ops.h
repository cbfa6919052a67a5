// What a library of custom ops registers.
#pragma once

#include "ort/api.h"

#include <vector>

namespace maskline
{

//! All custom ops of this library; they live as long as it is loaded.
std::vector<OrtCustomOp const*> allCustomOps();

} // namespace maskline
