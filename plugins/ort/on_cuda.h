// Ops of ours at ONNX Runtime's CUDA provider.
#pragma once

#include "node/device_call.h"
#include "ort/api.h"

#include <cuda_runtime_api.h>

#include <cstddef>
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
        throw std::runtime_error(std::string("the launch was refused: ") + cudaGetErrorString(status));
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
            OrtApi const& api = Ort::GetApi();
            Ort::ThrowOnError(api.KernelContext_GetAllocator(context, memory, &mAllocator));
            OrtStatus* const status = api.KernelContext_GetScratchBuffer(context, memory, bytes, &mData);
            if (status != nullptr)
            {
                api.ReleaseAllocator(mAllocator);
                Ort::ThrowOnError(status);
            }
        }
    }

    ~Scratch()
    {
        if (mAllocator != nullptr)
        {
            mAllocator->Free(mAllocator, mData);
            Ort::GetApi().ReleaseAllocator(mAllocator);
        }
    }

    Scratch(Scratch const&) = delete;
    Scratch& operator=(Scratch const&) = delete;

    void* data() const noexcept
    {
        return mData;
    }

private:
    OrtAllocator* mAllocator{nullptr};
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
