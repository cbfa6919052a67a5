// MaskRLE: a block a detection, a thread a column of pixels.
//
// Strip by strip of neighbouring columns, each thread solves its column twice: to count its edges, and, when a scan over
// the block has said where they go, to write them. They are written where the counts belong, and become counts, their
// differences, in place at the end.

#include "mask_rle/kernel.h"

#include "common/block_ops.cuh"
#include "common/launch.h"
#include "mask_rle/math.h"

namespace maskline
{
namespace
{

using namespace mask_rle;

constexpr int kTHREADS = 256;
//! Columns of a strip: the last thread only looks at the first column of the next strip.
constexpr int kCOLUMNS = kTHREADS - 1;

//! What a block keeps in dynamic shared memory.
struct Shared
{
    double* cells;         //!< [M+2, M+2] the mask with a border of zeros
    Stretch* stretches;    //!< [M+1]
    std::uint64_t* mixed;  //!< [M+1] for each pair of neighbouring cell columns, the stretches that may cross
    std::uint64_t* inside; //!< [M+2] for each padded column, bit i: is the cell in row i of the mask inside?
};

std::size_t sharedBytes(std::int32_t side)
{
    auto const padded = static_cast<std::size_t>(side) + 2;
    return padded * padded * sizeof(double) + (padded - 1) * (sizeof(Stretch) + sizeof(std::uint64_t))
        + padded * sizeof(std::uint64_t);
}

__device__ __forceinline__ Shared makeShared(double* memory, std::int32_t side)
{
    Shared shared;
    shared.cells = memory;
    shared.stretches = reinterpret_cast<Stretch*>(memory + (side + 2) * (side + 2));
    shared.mixed = reinterpret_cast<std::uint64_t*>(shared.stretches + side + 1);
    shared.inside = shared.mixed + side + 1;
    return shared;
}

__device__ __forceinline__ float toFloat(std::uint8_t value)
{
    return value;
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

//! A whole number 0..255, whatever is in the mask; 0 for NaN.
template <typename T>
__device__ __forceinline__ double cellOf(T value)
{
    float const number = toFloat(value);
    float const positive = number > 0.0F ? number : 0.0F;
    return rintf(positive < 255.0F ? positive : 255.0F);
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
        shared.cells[i] = isBorder ? 0.0 : cellOf(mask[row * side + column]);
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
            bool const isInside = row < side && shared.cells[(row + 1) * padded + column] >= kINSIDE;
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

//! Makes runs of a column's crossings: those without a pixel are left out, touching ones joined.
template <typename Run>
class RunMaker
{
public:
    __device__ explicit RunMaker(Run& run)
        : mRun(run)
    {
    }

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
    Shared const& shared, Columns const& columns, std::int32_t index, double step, Run& run)
{
    Column const column = makeColumn(columns, index);
    RunMaker<Run> maker(run);
    crossColumn(shared.cells + column.left, columns.side + 2, column.fraction, shared.stretches,
        shared.mixed[column.left], step, maker);
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
__device__ __forceinline__ Edges writeEdges(Shared const& shared, Columns const& columns, ImageSize size, double step,
    std::int32_t* edges, std::int32_t capacity)
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

//! Turns edges into counts in place, the last count and zeros behind them.
//!
//! @param number of counts; the last one ends with the image, and the others at the edges.
__device__ __forceinline__ void differences(
    std::int32_t* counts, std::int32_t number, std::int32_t capacity, std::int32_t numPixels)
{
    // From the last to the first, so that an edge is still there when the count behind it is made.
    auto const chunks = ceilDivide(capacity, kTHREADS);
    for (auto chunk = chunks - 1; chunk >= 0; --chunk)
    {
        auto const i = chunk * kTHREADS + static_cast<std::int32_t>(threadIdx.x);
        std::int32_t count = 0;
        if (i < number)
        {
            auto const edge = i == number - 1 ? numPixels : counts[i];
            count = edge - (i > 0 ? counts[i - 1] : 0);
        }
        if (chunk * kTHREADS < number)
        {
            __syncthreads();
        }
        if (i < capacity)
        {
            counts[i] = count;
        }
    }
}

//! What one block answers.
struct Answer
{
    std::int32_t* counts; //!< [maxCounts]
    std::int32_t* number;
    float* box; //!< [4] or null
};

__device__ __forceinline__ void writeHead(Answer const& answer, std::int32_t number, float const (&box)[4])
{
    if (threadIdx.x == 0)
    {
        *answer.number = number;
    }
    if (threadIdx.x < 4 && answer.box != nullptr)
    {
        answer.box[threadIdx.x] = box[threadIdx.x];
    }
}

template <typename T>
__global__ void __launch_bounds__(kTHREADS) maskRLEKernel(
    MaskRLEShape shape, std::int32_t maxCounts, MaskRLEBuffers buffers)
{
    MASKLINE_DYNAMIC_SHARED(double, memory);
    auto const slot = static_cast<std::int64_t>(blockIdx.x);
    auto const image = slot / shape.detections;
    auto const side = shape.side;
    Answer const answer{buffers.counts + slot * maxCounts, buffers.numCounts + slot,
        buffers.imageBoxes == nullptr ? nullptr : buffers.imageBoxes + slot * 4};
    float const* info = buffers.imageInfo + image * 6;
    auto const size = makeImageSize(info[4], info[5]);
    float box[4] = {};
    if (slot % shape.detections >= buffers.numDetections[image] || size.height == 0)
    {
        writeHead(answer, 0, box);
        differences(answer.counts, 0, maxCounts, 0);
        return;
    }
    for (int i = 0; i < 4; ++i)
    {
        box[i] = imageCoordinate(buffers.boxes[slot * 4 + i], info[3 - i % 2], info[5 - i % 2]);
    }
    Columns const columns = makeColumns(box[0], box[2], side, size.width);
    Rows const rows = makeRows(box[1], box[3], side, size.height);
    Edges edges{0, false};
    if (columns.pixels.count > 0 && rows.pixels.count > 0)
    {
        Shared const shared = makeShared(memory, side);
        prepare(static_cast<T const*>(buffers.masks) + slot * side * side, side, rows, shared);
        edges = writeEdges(shared, columns, size, rows.step, answer.counts, maxCounts);
    }
    auto const number = edges.isLastAtEnd ? edges.number : edges.number + 1;
    bool const fits = number <= maxCounts;
    writeHead(answer, fits ? number : -number, box);
    differences(answer.counts, fits ? number : 0, maxCounts, size.height * size.width);
}

template <typename T>
cudaError_t launchFor(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskRLEBuffers const& buffers,
    cudaStream_t stream)
{
    auto const blocks = static_cast<unsigned>(shape.images) * static_cast<unsigned>(shape.detections);
    return launch(maskRLEKernel<T>, dim3(blocks), dim3(kTHREADS), sharedBytes(shape.side), stream, shape,
        attributes.maxCounts, buffers);
}

} // namespace

cudaError_t launchMaskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskType type,
    MaskRLEBuffers const& buffers, cudaStream_t stream)
{
    if (shape.images == 0 || shape.detections == 0)
    {
        return cudaSuccess;
    }
    switch (type)
    {
    case MaskType::kUINT8:
        return launchFor<std::uint8_t>(attributes, shape, buffers, stream);
    case MaskType::kFLOAT32:
        return launchFor<float>(attributes, shape, buffers, stream);
    case MaskType::kFLOAT16:
        return launchFor<__half>(attributes, shape, buffers, stream);
    case MaskType::kBFLOAT16:
        return launchFor<__nv_bfloat16>(attributes, shape, buffers, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace maskline
