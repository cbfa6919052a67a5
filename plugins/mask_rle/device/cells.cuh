// The shared memory of a block of MaskRLE: a mask's cells, its stretches of rows, and where to look for crossings.
#pragma once

#include "common/device/block_ops.cuh"
#include "common/device/launch.h"
#include "mask_rle/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{
namespace mask_rle
{

constexpr int kTHREADS = 256;

//! What a block keeps in dynamic shared memory.
struct Shared
{
    double* cells;         //!< [M+2, M+2] the mask with a border of zeros
    Stretch* stretches;    //!< [M+1]
    std::uint64_t* mixed;  //!< [M+1] for each pair of neighbouring cell columns, the stretches that may cross
    std::uint64_t* inside; //!< [M+2] for each padded column, bit i: is the cell in row i of the mask inside?
    double thresh;         //!< of the rule; every thread has its own
};

std::size_t sharedBytes(std::int32_t side)
{
    auto const padded = static_cast<std::size_t>(side) + 2;
    return padded * padded * sizeof(double) + (padded - 1) * (sizeof(Stretch) + sizeof(std::uint64_t))
        + padded * sizeof(std::uint64_t);
}

__device__ __forceinline__ Shared makeShared(double* memory, std::int32_t side, PasteRule rule)
{
    Shared shared;
    shared.cells = memory;
    shared.stretches = reinterpret_cast<Stretch*>(memory + (side + 2) * (side + 2));
    shared.mixed = reinterpret_cast<std::uint64_t*>(shared.stretches + side + 1);
    shared.inside = shared.mixed + side + 1;
    shared.thresh = threshOf(rule);
    return shared;
}

__device__ __forceinline__ float toFloat(float value)
{
    return value;
}

__device__ __forceinline__ float toFloat(__half value)
{
    return __half2float(value);
}

__device__ __forceinline__ float toFloat(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

//! Fills the block's shared memory; barrier at the end.
template <typename T>
__device__ __forceinline__ void prepare(T const* mask, std::int32_t side, Rows const& rows, Shared const& shared)
{
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    auto const padded = side + 2;
    for (auto i = thread; i < padded * padded; i += kTHREADS)
    {
        auto const row = i / padded - 1;
        auto const column = i % padded - 1;
        bool const isBorder = row < 0 || row >= side || column < 0 || column >= side;
        shared.cells[i] = isBorder ? 0.0 : probabilityOf(toFloat(mask[row * side + column]));
    }
    for (auto k = thread; k <= side; k += kTHREADS)
    {
        shared.stretches[k] = makeStretch(rows, k, firstRowFrom(rows, k), firstRowFrom(rows, k + 1));
    }
    __syncthreads();
    for (auto column = warpId(); column < padded; column += warpCount()) // a warp a column, a lane a row
    {
        std::uint64_t bits = 0;
        for (std::int32_t first = 0; first < side; first += kWARP)
        {
            auto const row = first + laneId();
            bool const isInside = row < side && shared.cells[(row + 1) * padded + column] >= shared.thresh;
            bits |= static_cast<std::uint64_t>(__ballot_sync(0xffffffffU, isInside)) << first;
        }
        if (laneId() == 0)
        {
            shared.inside[column] = bits;
        }
    }
    __syncthreads();
    for (auto left = thread; left <= side; left += kTHREADS)
    {
        shared.mixed[left] = mixedStretches(shared.inside[left], shared.inside[left + 1]);
    }
    __syncthreads();
}

} // namespace mask_rle
} // namespace maskline
