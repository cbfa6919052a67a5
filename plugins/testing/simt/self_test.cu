// Kernels that show what the emulator must answer and what it must refuse; tests/plugins/test_simt.py runs them.

#include "common/device/launch.h"
#include "common/export.h"

namespace maskline
{
namespace
{

//! Sum of 0..blockDim-1 in a warp-and-shared-memory reduction, one value a block.
__global__ void sumKernel(int* sums)
{
    __shared__ int partial[32];
    int value = static_cast<int>(threadIdx.x);
    for (int delta = 16; delta > 0; delta /= 2)
    {
        value += __shfl_down_sync(0xffffffffU, value, static_cast<unsigned>(delta));
    }
    if (threadIdx.x % 32 == 0)
    {
        partial[threadIdx.x / 32] = value;
    }
    __syncthreads();
    if (threadIdx.x == 0)
    {
        int total = 0;
        for (unsigned i = 0; i < blockDim.x / 32; ++i)
        {
            total += partial[i];
        }
        sums[blockIdx.x] = total;
    }
}

//! Reverses a block's numbers through shared memory; without the barrier the answer depends on the order.
__global__ void reverseKernel(int* numbers, bool forgetBarrier)
{
    MASKLINE_DYNAMIC_SHARED(int, turned);
    turned[blockDim.x - 1 - threadIdx.x] = static_cast<int>(threadIdx.x);
    if (!forgetBarrier)
    {
        __syncthreads();
    }
    numbers[threadIdx.x] = turned[threadIdx.x];
}

//! Half of a warp waits for the whole block while the rest waits for the warp.
__global__ void divergentKernel()
{
    if (threadIdx.x < 16)
    {
        __syncthreads();
    }
    else
    {
        __syncwarp();
    }
}

} // namespace
} // namespace maskline

MASKLINE_API int maskline_simt_test_sum(int blocks, int threads, int* sums)
{
    return maskline::launch(maskline::sumKernel, dim3(static_cast<unsigned>(blocks)),
        dim3(static_cast<unsigned>(threads)), 0, nullptr, sums);
}

MASKLINE_API int maskline_simt_test_reverse(int threads, int* numbers, int forgetBarrier)
{
    auto const count = static_cast<unsigned>(threads);
    return maskline::launch(
        maskline::reverseKernel, dim3(1), dim3(count), count * sizeof(int), nullptr, numbers, forgetBarrier != 0);
}

MASKLINE_API int maskline_simt_test_divergence()
{
    return maskline::launch(maskline::divergentKernel, dim3(1), dim3(32), 0, nullptr);
}
