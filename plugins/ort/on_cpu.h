// Ops of ours at ONNX Runtime's CPU provider.
#pragma once

#include "node/call.h"
#include "ort/api.h"
#include "ort/crew.h"

namespace maskline
{

//! What ort/op.h asks of a place: on the host, on the threads of the session.
struct OnCpu
{
    static constexpr char const* kPROVIDER = "CPUExecutionProvider";

    template <typename Op>
    static void run(OrtKernelContext* context, typename Op::Attributes const& attributes, Call const& call)
    {
        CrewOfRuntime const crew(context);
        Op::run(attributes, call);
    }
};

} // namespace maskline
