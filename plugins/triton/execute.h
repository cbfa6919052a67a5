// The requests that Triton hands over together: those of equal shapes run as one batch, a failing one fails alone.
#pragma once

#include "triton/api.h"
#include "triton/engine.h"
#include "triton/sender.h"

#include <string>
#include <vector>

namespace maskline::triton
{

//! Answers and releases every request; nothing is thrown.
//!
//! @param name the model's, for error texts.
//! @param sender sends the answers of a model with limits of its queue; null: they are sent at once.
void execute(TRITONBACKEND_ModelInstance* instance, std::string const& name, Engine const& engine, Sender* sender,
    std::vector<TRITONBACKEND_Request*> const& requests) noexcept;

} // namespace maskline::triton
