// The requests that Triton hands over together: those of equal shapes run as one batch, a failing one fails alone.
#pragma once

#include "triton/api.h"
#include "triton/engine.h"

#include <string>
#include <vector>

namespace maskline::triton
{

//! Answers and releases every request; nothing is thrown.
//!
//! @param name the model's, for error texts.
void execute(TRITONBACKEND_ModelInstance* instance, std::string const& name, Engine const& engine,
    std::vector<TRITONBACKEND_Request*> const& requests) noexcept;

} // namespace maskline::triton
