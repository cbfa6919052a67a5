// ONNX Runtime's own threads for the loops of the ops, instead of threads of theirs beside them.
#pragma once

#include "common/host/parallel.h"
#include "ort/api.h"

#include <cstddef>
#include <functional>

namespace maskline
{

//! For as long as it lives, loops that this thread starts run on the threads of ONNX Runtime.
class CrewOfRuntime final : public Crew
{
public:
    explicit CrewOfRuntime(OrtKernelContext* context)
        : mContext(context)
        , mScope(*this)
    {}

    void run(int threads, std::function<void()> const& take) const override
    {
        auto const call = [](void* work, std::size_t) { (*static_cast<std::function<void()> const*>(work))(); };
        auto* const work = const_cast<std::function<void()>*>(&take);
        Ort::ThrowOnError(
            Ort::GetApi().KernelContext_ParallelFor(mContext, call, static_cast<std::size_t>(threads), 0, work));
    }

private:
    OrtKernelContext* mContext;
    CrewScope mScope;
};

} // namespace maskline
