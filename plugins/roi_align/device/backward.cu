// MultiscaleRoIAlign's backward for averages: the gradient of the features of all levels in one launch.
//
// byBox: a block takes one box and some channels. A thread gathers all that the box's bins give to one cell in
// registers, so that each cell of a box is added once: four channels by one reduction with kHWC8.
// byCell: a block owns a tile of cells of one image and walks over the boxes that reach it, in their order.
#include "roi_align/device/backward.h"

#include "common/device/block_ops.cuh"
#include "roi_align/device/gather.cuh"
#include "roi_align/device/rows.cuh"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{
namespace
{

constexpr int kTHREADS = 256;
constexpr std::int64_t kBLOCKS_WANTED = 2048; // as the forward's
// Cells of a window of a box on an axis: a box of FPN's levels is 14 to 28 cells wide, but for the last level's.
constexpr int kWINDOW = 32;
// A tile of byCell, and its channel vectors: a thread has one cell and one vector.
constexpr int kTILE_ROWS = 4;
constexpr int kTILE_COLUMNS = 8;
constexpr int kTILE_CELLS = kTILE_ROWS * kTILE_COLUMNS;
constexpr int kTILE_VECTORS = kTHREADS / kTILE_CELLS;

//! What the kernels are given, by value.
struct Task
{
    RoIAlignAttributes attributes;
    RoIAlignShape shape;
    void const* pooled;
    float const* boxes;
    RoIAlignRows rows;
    float* gradients[kROI_ALIGN_MAX_LEVELS];
    std::int32_t vectors;      //!< of channels
    std::int32_t sliceVectors; //!< of one block of byBox
    std::int32_t stored;       //!< channels as they lie in memory
};

//! Where the channels of one thread lie, in a layout.
template <int CHANNELS>
struct Addresses
{
    std::int32_t bins;   //!< P * P
    std::int32_t stored; //!< channels as they lie in memory

    //! Elements from bin 0 of a box to its next bin.
    __device__ std::int32_t binStride() const
    {
        return CHANNELS == 1 ? 1 : stored;
    }

    __device__ std::size_t pooled(std::int32_t row, std::int32_t vector) const
    {
        std::size_t const box = static_cast<std::size_t>(row) * static_cast<std::size_t>(stored) * bins;
        return box + static_cast<std::size_t>(vector) * (CHANNELS == 1 ? bins : CHANNELS);
    }

    __device__ std::size_t cell(std::int32_t image, std::size_t plane, std::size_t index, std::int32_t vector) const
    {
        std::size_t const map = static_cast<std::size_t>(image) * plane * static_cast<std::size_t>(stored);
        return map
            + (CHANNELS == 1 ? static_cast<std::size_t>(vector) * plane + index
                             : index * static_cast<std::size_t>(stored) + static_cast<std::size_t>(vector) * CHANNELS);
    }
};

//! Padded channels of the last vector get nothing, whatever the incoming gradient holds there.
template <int CHANNELS>
__device__ void dropPadding(float (&sums)[CHANNELS], std::int32_t vector, std::int32_t channels)
{
#pragma unroll
    for (int c = 1; c < CHANNELS; ++c)
    {
        sums[c] = vector * CHANNELS + c < channels ? sums[c] : 0.0F;
    }
}

__device__ __forceinline__ void reduce(float* to, float const (&sums)[1])
{
    atomicAdd(to, sums[0]);
}

//! Four neighbours: one reduction where there is such an instruction (sm_90), otherwise four.
__device__ __forceinline__ void reduce(float* to, float const (&sums)[4])
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(sums[0]),
        "f"(sums[1]), "f"(sums[2]), "f"(sums[3])
        : "memory");
#else
#pragma unroll
    for (int c = 0; c < 4; ++c)
    {
        atomicAdd(to + c, sums[c]);
    }
#endif
}

template <typename T, int CHANNELS>
__global__ void __launch_bounds__(kTHREADS) byBox(Task const task)
{
    MASKLINE_DYNAMIC_SHARED(unsigned char, shared);
    std::int32_t const side = task.attributes.pooledSide;
    Addresses<CHANNELS> const addresses{side * side, task.stored};
    auto const row = static_cast<std::int32_t>(blockIdx.x);
    RoIAlignPlace const place = placeOf(task.attributes, task.shape, task.boxes, task.rows, row);
    if (place.level < 0) // the same for all threads of the block
    {
        return;
    }
    std::int32_t const firstVector = static_cast<std::int32_t>(blockIdx.y) * task.sliceVectors;
    std::int32_t const vectors = least(task.sliceVectors, task.vectors - firstVector);
    std::size_t const plane
        = static_cast<std::size_t>(place.rows.cells) * static_cast<std::size_t>(place.columns.cells);
    T const* const pooled = static_cast<T const*>(task.pooled);
    float* const gradient = task.gradients[place.level];
    RoIAlignRange const down = patchOf(place.rows);
    RoIAlignRange const across = patchOf(place.columns);
    auto rows = windowAt<kWINDOW>(shared);
    auto columns = windowAt<kWINDOW>(shared + windowBytes<kWINDOW>(side));
    for (std::int32_t top = down.begin; top < down.end; top += kWINDOW)
    {
        for (std::int32_t left = across.begin; left < across.end; left += kWINDOW)
        {
            rows.cells = {top, least(top + kWINDOW, down.end)};
            columns.cells = {left, least(left + kWINDOW, across.end)};
            fillWindow(rows, columns, place, side);
            std::int32_t const width = columns.cells.end - left;
            std::int32_t const cells = (rows.cells.end - top) * width;
            for (auto item = static_cast<std::int32_t>(threadIdx.x); item < cells * vectors; item += kTHREADS)
            {
                std::int32_t const cell = CHANNELS == 1 ? item % cells : item / vectors;
                std::int32_t const vector = firstVector + (CHANNELS == 1 ? item / cells : item % vectors);
                std::int32_t const y = cell / width;
                std::int32_t const x = cell - y * width;
                float sums[CHANNELS];
                if (gather(
                        rows, columns, y, x, side, pooled + addresses.pooled(row, vector), addresses.binStride(), sums))
                {
                    dropPadding(sums, vector, task.shape.channels);
                    std::size_t const index
                        = static_cast<std::size_t>(top + y) * static_cast<std::size_t>(place.columns.cells)
                        + static_cast<std::size_t>(left + x);
                    reduce(gradient + addresses.cell(place.image, plane, index, vector), sums);
                }
            }
        }
    }
}

//! A block's tile.
struct Tile
{
    std::int32_t level;
    std::int32_t image;
    RoIAlignRange rows;
    RoIAlignRange columns;
};

MASKLINE_HD std::int64_t tilesOf(RoIAlignShape const& shape, std::int32_t level)
{
    return std::int64_t{ceilDivide(shape.heights[level], kTILE_ROWS)} * ceilDivide(shape.widths[level], kTILE_COLUMNS);
}

//! Tile `index` of those of all levels, each level's images one after the other.
__device__ inline Tile tileOf(RoIAlignAttributes const& attributes, RoIAlignShape const& shape, std::int64_t index)
{
    std::int32_t level = 0;
    while (level + 1 < attributes.numLevels && index >= tilesOf(shape, level) * shape.images)
    {
        index -= tilesOf(shape, level) * shape.images;
        ++level;
    }
    std::int64_t const tiles = tilesOf(shape, level);
    auto const within = static_cast<std::int32_t>(index % tiles);
    std::int32_t const across = ceilDivide(shape.widths[level], kTILE_COLUMNS);
    std::int32_t const top = within / across * kTILE_ROWS;
    std::int32_t const left = within % across * kTILE_COLUMNS;
    return {level, static_cast<std::int32_t>(index / tiles), {top, least(top + kTILE_ROWS, shape.heights[level])},
        {left, least(left + kTILE_COLUMNS, shape.widths[level])}};
}

__device__ inline bool meet(RoIAlignRange const& a, RoIAlignRange const& b)
{
    return a.begin < b.end && b.begin < a.end;
}

//! Rows of the boxes first..first + kTHREADS - 1 of an image, or of all where each says its own, that reach a tile, in
//! their order; all threads take part.
//!
//! @return how many; `reaching` has their rows.
__device__ inline std::int32_t findBoxes(
    Task const& task, Tile const& tile, std::int32_t first, std::int32_t* reaching, unsigned* sums)
{
    std::int32_t const box = first + static_cast<std::int32_t>(threadIdx.x);
    std::int32_t const row = (task.rows.images == nullptr ? tile.image * task.shape.boxes : 0) + box;
    bool reaches = false;
    if (box < task.shape.boxes)
    {
        RoIAlignPlace const place = placeOf(task.attributes, task.shape, task.boxes, task.rows, row);
        reaches = place.level == tile.level && place.image == tile.image && meet(patchOf(place.rows), tile.rows)
            && meet(patchOf(place.columns), tile.columns);
    }
    unsigned const before = blockExclusiveSum(reaches ? 1U : 0U, sums);
    if (reaches)
    {
        reaching[before] = row;
    }
    __syncthreads();
    return static_cast<std::int32_t>(sums[kWARP]);
}

template <typename T, int CHANNELS>
__global__ void __launch_bounds__(kTHREADS) byCell(Task const task)
{
    MASKLINE_DYNAMIC_SHARED(unsigned char, shared);
    __shared__ std::int32_t reaching[kTHREADS];
    __shared__ unsigned sums[kWARP + 1];
    std::int32_t const side = task.attributes.pooledSide;
    Addresses<CHANNELS> const addresses{side * side, task.stored};
    Tile const tile = tileOf(task.attributes, task.shape, static_cast<std::int64_t>(blockIdx.x));
    auto rows = windowAt<kTILE_ROWS>(shared);
    auto columns = windowAt<kTILE_COLUMNS>(shared + windowBytes<kTILE_ROWS>(side));
    rows.cells = tile.rows;
    columns.cells = tile.columns;
    // Neighbouring threads have neighbouring elements of the gradient.
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    std::int32_t const cell = CHANNELS == 1 ? thread % kTILE_CELLS : thread / kTILE_VECTORS;
    std::int32_t const vector = static_cast<std::int32_t>(blockIdx.y) * kTILE_VECTORS
        + (CHANNELS == 1 ? thread / kTILE_CELLS : thread % kTILE_VECTORS);
    std::int32_t const y = cell / kTILE_COLUMNS;
    std::int32_t const x = cell % kTILE_COLUMNS;
    bool const mine
        = vector < task.vectors && tile.rows.begin + y < tile.rows.end && tile.columns.begin + x < tile.columns.end;
    T const* const pooled = static_cast<T const*>(task.pooled);
    float totals[CHANNELS] = {};
    for (std::int32_t first = 0; first < task.shape.boxes; first += kTHREADS)
    {
        std::int32_t const number = findBoxes(task, tile, first, reaching, sums);
        for (std::int32_t k = 0; k < number; ++k)
        {
            std::int32_t const row = reaching[k];
            fillWindow(rows, columns, placeOf(task.attributes, task.shape, task.boxes, task.rows, row), side);
            float found[CHANNELS];
            if (mine
                && gather(
                    rows, columns, y, x, side, pooled + addresses.pooled(row, vector), addresses.binStride(), found))
            {
#pragma unroll
                for (int c = 0; c < CHANNELS; ++c)
                {
                    totals[c] += found[c];
                }
            }
        }
        __syncthreads(); // `reaching` is read
    }
    if (!mine)
    {
        return;
    }
    dropPadding(totals, vector, task.shape.channels);
    std::size_t const width = static_cast<std::size_t>(task.shape.widths[tile.level]);
    std::size_t const plane = static_cast<std::size_t>(task.shape.heights[tile.level]) * width;
    std::size_t const index
        = static_cast<std::size_t>(tile.rows.begin + y) * width + static_cast<std::size_t>(tile.columns.begin + x);
    float* const to = task.gradients[tile.level] + addresses.cell(tile.image, plane, index, vector);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
    {
        to[c] += totals[c];
    }
}

template <typename T, int CHANNELS>
cudaError_t startByBox(Task& task, cudaStream_t stream)
{
    constexpr std::int32_t kLEAST_VECTORS = 8; // of a slice: a sector of memory and more
    std::int64_t const rows = task.rows.count();
    std::int64_t const most = ceilDivide(task.vectors, kLEAST_VECTORS);
    auto const slices = static_cast<std::int32_t>(least(ceilDivide(kBLOCKS_WANTED, rows), most));
    task.sliceVectors = ceilDivide(task.vectors, slices);
    dim3 const grid(static_cast<unsigned>(rows), static_cast<unsigned>(ceilDivide(task.vectors, task.sliceVectors)));
    auto const shared = static_cast<std::size_t>(2 * windowBytes<kWINDOW>(task.attributes.pooledSide));
    return launch(byBox<T, CHANNELS>, grid, dim3(kTHREADS), shared, stream, task);
}

template <typename T, int CHANNELS>
cudaError_t startByCell(Task const& task, cudaStream_t stream)
{
    std::int64_t tiles = 0;
    for (std::int32_t level = 0; level < task.attributes.numLevels; ++level)
    {
        tiles += tilesOf(task.shape, level) * task.shape.images;
    }
    if (tiles > 0x7fffffff)
    {
        return cudaErrorInvalidValue;
    }
    std::int32_t const side = task.attributes.pooledSide;
    dim3 const grid(static_cast<unsigned>(tiles), static_cast<unsigned>(ceilDivide(task.vectors, kTILE_VECTORS)));
    auto const shared = static_cast<std::size_t>(windowBytes<kTILE_ROWS>(side) + windowBytes<kTILE_COLUMNS>(side));
    return launch(byCell<T, CHANNELS>, grid, dim3(kTHREADS), shared, stream, task);
}

template <typename T, int CHANNELS>
cudaError_t start(Task& task, bool deterministic, cudaStream_t stream)
{
    task.vectors = ceilDivide(task.shape.channels, CHANNELS);
    return deterministic ? startByCell<T, CHANNELS>(task, stream) : startByBox<T, CHANNELS>(task, stream);
}

template <typename T>
cudaError_t chooseLayout(Task& task, bool deterministic, cudaStream_t stream)
{
    return task.shape.layout == FeatureLayout::kHWC8 ? start<T, 4>(task, deterministic, stream)
                                                     : start<T, 1>(task, deterministic, stream);
}

} // namespace

cudaError_t launchMultiscaleRoIAlignBackward(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    bool deterministic, void const* pooled, float const* boxes, std::int64_t const* images, float* const* gradients,
    cudaStream_t stream)
{
    if (rowsOf(shape, images).count() == 0)
    {
        return cudaSuccess;
    }
    Task task{attributes, shape, pooled, boxes, rowsOf(shape, images), {}, 0, 0, storedChannels(shape)};
    for (std::int32_t i = 0; i < attributes.numLevels; ++i)
    {
        task.gradients[i] = gradients[i];
    }
    switch (shape.type)
    {
    case FeatureType::kFLOAT: return chooseLayout<float>(task, deterministic, stream);
    case FeatureType::kHALF: return chooseLayout<__half>(task, deterministic, stream);
    case FeatureType::kBFLOAT16: return chooseLayout<__nv_bfloat16>(task, deterministic, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace maskline
