// One way to start a kernel, so that the same .cu file runs on a GPU and in the SIMT emulator.
#pragma once

#include <cstddef>

#if defined(MASKLINE_SIMT)
#include "testing/simt/simt.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
//! Dynamic shared memory of a kernel, as `TYPE NAME[]`.
#define MASKLINE_DYNAMIC_SHARED(TYPE, NAME) extern __shared__ TYPE NAME[]
#endif

namespace maskline
{

//! Queues a kernel on a stream. Never synchronises.
//!
//! @return cudaSuccess, or why the launch was refused (what goes wrong inside the kernel shows later).
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t sharedBytes, cudaStream_t stream,
    Arguments... arguments)
{
#if defined(MASKLINE_SIMT)
    static_cast<void>(stream);
    return simt::run(grid, block, sharedBytes, [=] { kernel(static_cast<Parameters>(arguments)...); });
#else
    kernel<<<grid, block, sharedBytes, stream>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError(); // and forgets it: the next launch of this thread is not to blame
#endif
}

} // namespace maskline
