// Ops of ours at ONNX Runtime's CUDA provider.
#pragma once

#include "node/device_call.h"
#include "ort/api.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

namespace maskline
{

//! Queues an op.
//!
//! @throws std::runtime_error when the launch was refused.
template <typename Op>
void launchOp(typename Op::Attributes const& attributes, Call const& call, void* workspace, cudaStream_t stream)
{
    cudaError_t const status = Op::launch(attributes, {call, workspace, stream});
    if (status != cudaSuccess)
    {
        throw std::runtime_error(std::string("the launch was refused: ") + cudaGetErrorString(status)
            + "; expected a driver as new as the CUDA of this build and a card that it has code for "
              "(plugins/ort/README.md)");
    }
}

//! Memory of the provider for one run. It is given back when the run is queued, not when it is done: the provider
//! knows the stream that it was taken for, and gives it to no other before that one has come so far.
class Scratch
{
public:
    //! @param memory where; that of a tensor of the run.
    //! @throws Ort::Exception when there is not as much.
    Scratch(OrtKernelContext* context, OrtMemoryInfo const* memory, std::size_t bytes)
    {
        if (bytes > 0)
        {
            OrtAllocator* allocator = nullptr;
            Ort::ThrowOnError(Ort::GetApi().KernelContext_GetAllocator(context, memory, &allocator));
            mAllocator.reset(allocator); // before the next line, which some versions of ONNX Runtime leave by throwing
            Ort::ThrowOnError(Ort::GetApi().KernelContext_GetScratchBuffer(context, memory, bytes, &mData));
        }
    }

    ~Scratch()
    {
        if (mAllocator != nullptr)
        {
            mAllocator->Free(mAllocator.get(), mData);
        }
    }

    Scratch(Scratch const&) = delete;
    Scratch& operator=(Scratch const&) = delete;

    void* data() const noexcept
    {
        return mData;
    }

private:
    struct Release
    {
        void operator()(OrtAllocator* allocator) const
        {
            Ort::GetApi().ReleaseAllocator(allocator);
        }
    };

    std::unique_ptr<OrtAllocator, Release> mAllocator;
    void* mData{nullptr};
};

//! What ort/op.h asks of a place: queued on the stream of the session. Nothing here waits for the GPU.
struct OnCuda
{
    static constexpr char const* kPROVIDER = "CUDAExecutionProvider";

    template <typename Op>
    static void run(OrtKernelContext* given, typename Op::Attributes const& attributes, Call const& call)
    {
        Ort::KernelContext const context(given);
        Scratch const scratch(
            given, context.GetInput(0).GetTensorMemoryInfo(), Op::workspaceBytes(attributes, call.shapes));
        auto* const stream = static_cast<cudaStream_t>(context.GetGPUComputeStream());
        launchOp<Op>(attributes, call, scratch.data(), stream);
    }
};

} // namespace maskline
