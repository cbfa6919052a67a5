// The edges of a mask's runs, written by a block in order, a thread a column of pixels.
#pragma once

#include "mask_rle/device/cells.cuh"

#include <cstdint>

namespace maskline
{
namespace mask_rle
{

//! Columns of a strip: the last thread only looks at the first column of the next strip.
constexpr int kCOLUMNS = kTHREADS - 1;

//! Makes runs of a column's crossings: those without a pixel are left out, touching ones joined.
template <typename Run>
class RunMaker
{
public:
    __device__ explicit RunMaker(Run& run)
        : mRun(run)
    {}

    //! Takes a crossing: in, out, in, out, ...
    __device__ void operator()(std::int32_t row)
    {
        if (!mIsInside)
        {
            mEntered = row;
        }
        else if (row > mEntered)
        {
            if (mEntered != mEnd)
            {
                flush();
                mStart = mEntered;
            }
            mEnd = row;
        }
        mIsInside = !mIsInside;
    }

    //! Hands the last run over.
    __device__ void flush()
    {
        if (mEnd >= 0)
        {
            mRun(mStart, mEnd);
        }
    }

private:
    Run& mRun;
    bool mIsInside{false};
    std::int32_t mEntered{0};
    std::int32_t mStart{0};
    std::int32_t mEnd{-1};
};

//! Calls `run(start, end)` for each run of a column, in rows of the image.
template <typename Run>
__device__ __forceinline__ void walkColumn(
    Shared const& shared, Axis const& columns, std::int32_t index, double step, Run& run)
{
    Column const column = makeColumn(columns, index);
    RunMaker<Run> maker(run);
    crossColumn(shared.cells + column.left, columns.side + 2, column.fraction, shared.stretches,
        shared.mixed[column.left], step, shared.thresh, maker);
    maker.flush();
}

struct CountedRuns
{
    std::int32_t number{0};
    std::int32_t firstStart{-1};
    std::int32_t lastEnd{-1};

    __device__ void operator()(std::int32_t start, std::int32_t end)
    {
        firstStart = number == 0 ? start : firstStart;
        lastEnd = end;
        ++number;
    }
};

//! Writes a column's edges as positions in the image, as far as there is room.
struct EdgeWriter
{
    std::int32_t* edges;   //!< of the mask
    std::int32_t capacity; //!< of `edges`
    std::int32_t next;     //!< where this column's next edge goes; the first one may be left out
    std::int32_t first;    //!< where this column's edges begin
    std::int32_t end;      //!< where the next column's do
    std::int32_t top;      //!< position of the column's first pixel

    __device__ void put(std::int32_t row)
    {
        if (next >= first && next < least(end, capacity))
        {
            edges[next] = top + row;
        }
        ++next;
    }

    __device__ void operator()(std::int32_t start, std::int32_t end)
    {
        put(start);
        put(end);
    }
};

//! Edges of a mask.
struct Edges
{
    std::int32_t number;
    bool isLastAtEnd; //!< does the last run end with the image?
};

//! Writes the edges of all runs, those at which a column's run touches the next column's left out.
__device__ __forceinline__ Edges writeEdges(
    Shared const& shared, Axis const& columns, ImageSize size, double step, std::int32_t* edges, std::int32_t capacity)
{
    __shared__ unsigned scan[kWARP + 1];
    __shared__ bool startsAtTop[kTHREADS];
    __shared__ bool endsAtBottom[kTHREADS];
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    Edges found{0, false};
    bool beforeEndsAtBottom = false; // does the column before the strip?
    for (std::int32_t begin = 0; begin < columns.pixels.count; begin += kCOLUMNS)
    {
        auto const index = begin + thread;
        bool const exists = index < columns.pixels.count;
        CountedRuns runs;
        if (exists)
        {
            walkColumn(shared, columns, index, step, runs);
        }
        startsAtTop[thread] = runs.firstStart == 0;
        endsAtBottom[thread] = runs.lastEnd == size.height;
        __syncthreads();
        bool const isOwn = exists && thread < kCOLUMNS;
        bool const joinsBefore = startsAtTop[thread] && (thread == 0 ? beforeEndsAtBottom : endsAtBottom[thread - 1]);
        bool const joinsNext = isOwn && endsAtBottom[thread] && startsAtTop[thread + 1];
        auto const number = isOwn ? 2 * runs.number - joinsBefore - joinsNext : 0;
        auto const first
            = found.number + static_cast<std::int32_t>(blockExclusiveSum(static_cast<unsigned>(number), scan));
        if (number > 0)
        {
            auto const top = (columns.pixels.first + index) * size.height;
            EdgeWriter writer{edges, capacity, first - joinsBefore, first, first + number, top};
            walkColumn(shared, columns, index, step, writer);
        }
        found.number += static_cast<std::int32_t>(scan[kWARP]);
        auto const last = least(kCOLUMNS, columns.pixels.count - begin) - 1;
        beforeEndsAtBottom = endsAtBottom[last];
        bool const isRightmost = columns.pixels.first + begin + last == size.width - 1;
        found.isLastAtEnd = isRightmost && endsAtBottom[last];
        __syncthreads();
    }
    return found;
}

} // namespace mask_rle
} // namespace maskline
