// MultiscaleRoIAlign: a block works on one box (or a slice of its bins and channels).
//
// The block looks up the box's level and works out, once, what its bins read on each axis (RoIAlign is separable); the
// lists lie in shared memory. Threads then run over (bin, 8 channels) with kHWC8, so that a warp reads 512 bytes in a
// row of 256 half-precision channels and all its lanes are in one bin; or over (channel, bin) with NCHW, so that
// writes are coalesced.
#include "roi_align/device/kernel.h"

#include "roi_align/device/bins.cuh"
#include "roi_align/device/rows.cuh"
#include "roi_align/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{
namespace
{

constexpr int kTHREADS = 256;
// Blocks that keep a large GPU busy (132 SMs x 8 blocks), twice; with fewer boxes a box is cut into slices.
constexpr std::int64_t kBLOCKS_WANTED = 2048;

enum class BinKind
{
    kAVERAGE,
    kMAXIMUM,
    kPOOL,
};

//! What the kernel is given, by value.
struct Task
{
    RoIAlignAttributes attributes;
    RoIAlignShape shape;
    void const* features[kROI_ALIGN_MAX_LEVELS];
    float const* boxes;
    RoIAlignRows rows;
    void* output;
    std::int32_t items;      //!< (bin, channels) of a box that a thread works on at once
    std::int32_t sliceItems; //!< of one block
};

//! Shared memory of a block: what the bins of one axis read. The union of the kinds; `bytesOf` says how large.
struct AxisTable
{
    std::int32_t* counts;    //!< [P] taps of each bin (kAVERAGE)
    RoIAlignTap* taps;       //!< [P][2 * S]
    RoIAlignSample* samples; //!< [P * S] (kMAXIMUM)
    RoIAlignRange* ranges;   //!< [P] (kPOOL)
};

//! Down and across a box.
struct BoxAxes
{
    RoIAlignAxis rows;
    RoIAlignAxis columns;
};

struct BoxTables
{
    AxisTable rows;
    AxisTable columns;
};

MASKLINE_HD std::int32_t mostSamples(RoIAlignAttributes const& attributes)
{
    return attributes.samplingRatio > 0 ? attributes.samplingRatio : kROI_ALIGN_MAX_SAMPLING_RATIO;
}

//! Bytes of one axis, a multiple of 16.
template <BinKind KIND>
MASKLINE_HD std::int32_t bytesOf(RoIAlignAttributes const& attributes)
{
    std::int32_t const side = attributes.pooledSide;
    std::int32_t const points = side * mostSamples(attributes);
    std::int32_t bytes = side * static_cast<std::int32_t>(sizeof(RoIAlignRange));
    if (KIND == BinKind::kAVERAGE)
    {
        bytes = 2 * points * static_cast<std::int32_t>(sizeof(RoIAlignTap)) + side * 4;
    }
    if (KIND == BinKind::kMAXIMUM)
    {
        bytes = points * static_cast<std::int32_t>(sizeof(RoIAlignSample));
    }
    return ceilDivide(bytes, 16) * 16;
}

template <BinKind KIND>
__device__ AxisTable tableAt(unsigned char* bytes, RoIAlignAttributes const& attributes)
{
    AxisTable table;
    table.taps = reinterpret_cast<RoIAlignTap*>(bytes);
    table.counts = reinterpret_cast<std::int32_t*>(table.taps + 2 * attributes.pooledSide * mostSamples(attributes));
    table.samples = reinterpret_cast<RoIAlignSample*>(bytes);
    table.ranges = reinterpret_cast<RoIAlignRange*>(bytes);
    return table;
}

//! One thread's part of an axis' table. `unit`: vectors from one cell of this axis to the next.
template <BinKind KIND>
__device__ void fillTable(AxisTable const& table, RoIAlignAxis const& axis, std::int32_t side, std::uint32_t unit,
    std::int32_t room, std::int32_t bin)
{
    if (KIND == BinKind::kMAXIMUM)
    {
        for (std::int32_t i = bin * axis.count; i < (bin + 1) * axis.count; ++i)
        {
            table.samples[i] = sampleOf(axis, side, i);
        }
        return;
    }
    RoIAlignTap* const taps = table.taps + bin * room;
    std::int32_t const found = tapsOf(axis, side, bin, taps);
    table.counts[bin] = found;
    for (std::int32_t k = 0; k < found; ++k)
    {
        taps[k].cell = static_cast<std::int32_t>(static_cast<std::uint32_t>(taps[k].cell) * unit);
    }
}

//! The tables of both axes; all threads of the block take part.
template <BinKind KIND>
__device__ void fillTables(BoxTables const& tables, RoIAlignAttributes const& attributes, RoIAlignBox const& box,
    BoxAxes const& axes, std::int32_t stride, std::uint32_t cellVectors)
{
    std::int32_t const side = attributes.pooledSide;
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < 2 * side; i += kTHREADS)
    {
        bool const vertical = i < side; // chosen by value: an address would put them into local memory
        std::int32_t const bin = vertical ? i : i - side;
        AxisTable const table = vertical ? tables.rows : tables.columns;
        RoIAlignAxis const axis = vertical ? axes.rows : axes.columns;
        if (KIND == BinKind::kPOOL)
        {
            table.ranges[bin]
                = poolOf(attributes, vertical ? box.y0 : box.x0, vertical ? box.y1 : box.x1, stride, axis.cells, bin);
        }
        else
        {
            std::uint32_t const unit = (vertical ? static_cast<std::uint32_t>(axes.columns.cells) : 1U) * cellVectors;
            fillTable<KIND>(table, axis, side, unit, 2 * mostSamples(attributes), bin);
        }
    }
    __syncthreads();
}

//! `bin / side`. Half a bin is more than what the rounding of a product below 4096 can be off.
__device__ __forceinline__ std::int32_t rowOf(std::int32_t bin, std::int32_t side)
{
    return static_cast<std::int32_t>((static_cast<float>(bin) + 0.5F) * (1.0F / static_cast<float>(side)));
}

template <BinKind KIND, bool ADAPTIVE, typename T, int CHANNELS>
__device__ void workOnBin(BoxTables const& tables, RoIAlignAttributes const& attributes, BoxAxes const& axes,
    bool tabled, RoIAlignReader<T, CHANNELS> const& reader, std::int32_t bin, float (&result)[CHANNELS])
{
    std::int32_t const side = attributes.pooledSide;
    std::int32_t const i = rowOf(bin, side);
    std::int32_t const j = bin - i * side;
    if (ADAPTIVE && !tabled)
    {
        walkBin<KIND == BinKind::kMAXIMUM>(reader, axes.rows, axes.columns, side, bin, result);
    }
    else if (KIND == BinKind::kAVERAGE)
    {
        std::int32_t const room = 2 * mostSamples(attributes);
        fill(result, 0.0F);
        sumTaps(reader, tables.rows.taps + i * room, tables.rows.counts[i], tables.columns.taps + j * room,
            tables.columns.counts[j], result);
    }
    else if (KIND == BinKind::kMAXIMUM)
    {
        maximumOf(reader, axes.columns.cells, tables.rows.samples + i * axes.rows.count, axes.rows.count,
            tables.columns.samples + j * axes.columns.count, axes.columns.count, result);
    }
    else
    {
        poolOver(reader, axes.columns.cells, tables.rows.ranges[i], tables.columns.ranges[j], result);
    }
}

template <typename T, int CHANNELS, BinKind KIND, bool ADAPTIVE>
__global__ void __launch_bounds__(kTHREADS) roiAlignKernel(Task const task)
{
    MASKLINE_DYNAMIC_SHARED(unsigned char, shared);
    RoIAlignAttributes const& attributes = task.attributes;
    auto const row = static_cast<std::int32_t>(blockIdx.x);
    std::int32_t const side = attributes.pooledSide;
    std::int32_t const bins = side * side;
    std::int32_t const stored = CHANNELS == 1 ? task.shape.channels : ceilDivide(task.shape.channels, 8) * 8;
    std::int32_t const groups = stored / CHANNELS;
    auto const cellVectors = static_cast<std::uint32_t>(CHANNELS == 1 ? 1 : groups);
    T* const output = static_cast<T*>(task.output) + static_cast<std::int64_t>(row) * stored * bins;
    std::int32_t const begin = static_cast<std::int32_t>(blockIdx.y) * task.sliceItems;
    std::int32_t const end = least(begin + task.sliceItems, task.items);

    float4 const corners = __ldg(reinterpret_cast<float4 const*>(task.boxes) + row);
    std::int32_t const image = task.rows.imageOf(row);
    bool const exists = image >= 0 && hasArea({corners.x, corners.y, corners.z, corners.w});
    RoIAlignBox const box = exists ? RoIAlignBox{corners.x, corners.y, corners.z, corners.w} : RoIAlignBox{};
    std::int32_t const level = exists ? levelOf(attributes, box) : 0;
    std::int32_t const stride = attributes.strides[level];
    BoxAxes const axes{axisOf(attributes, box.y0, box.y1, stride, task.shape.heights[level]),
        axisOf(attributes, box.x0, box.x1, stride, task.shape.widths[level])};
    bool const tabled = !ADAPTIVE || greatest(axes.rows.count, axes.columns.count) <= kROI_ALIGN_MAX_SAMPLING_RATIO;
    BoxTables const tables{
        tableAt<KIND>(shared, attributes), tableAt<KIND>(shared + bytesOf<KIND>(attributes), attributes)};
    if (exists && tabled) // the same for all threads of the block
    {
        fillTables<KIND>(tables, attributes, box, axes, stride, cellVectors);
    }

    std::int64_t const plane = static_cast<std::int64_t>(axes.rows.cells) * axes.columns.cells;
    T const* const map = static_cast<T const*>(task.features[level]) + image * plane * stored;
    // An item is `outer * numInner + inner`; stepping both, a thread divides once.
    std::int32_t const numInner = CHANNELS == 1 ? bins : groups;
    std::int32_t const first = begin + static_cast<std::int32_t>(threadIdx.x);
    std::int32_t const outerStep = kTHREADS / numInner;
    std::int32_t const innerStep = kTHREADS % numInner;
    std::int32_t outer = first / numInner;
    std::int32_t inner = first % numInner;
    for (std::int32_t item = first; item < end; item += kTHREADS)
    {
        std::int32_t const bin = CHANNELS == 1 ? inner : outer;
        std::int32_t const group = CHANNELS == 1 ? outer : inner;
        float result[CHANNELS];
        fill(result, 0.0F);
        if (exists)
        {
            RoIAlignReader<T, CHANNELS> const reader{
                map + (CHANNELS == 1 ? group * plane : group * CHANNELS), cellVectors};
            workOnBin<KIND, ADAPTIVE>(tables, attributes, axes, tabled, reader, bin, result);
        }
        if (CHANNELS > 1 && group == groups - 1) // the only one that may have padded channels
        {
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c)
            {
                result[c] = group * CHANNELS + c < task.shape.channels ? result[c] : 0.0F;
            }
        }
        RoIAlignVector<T, CHANNELS>::store(output + static_cast<std::int64_t>(item) * CHANNELS, result);
        outer += outerStep;
        inner += innerStep;
        bool const wraps = inner >= numInner;
        outer += wraps ? 1 : 0;
        inner -= wraps ? numInner : 0;
    }
}

template <typename T, int CHANNELS, BinKind KIND, bool ADAPTIVE>
cudaError_t start(Task const& task, cudaStream_t stream)
{
    auto const rows = static_cast<unsigned>(task.rows.count());
    dim3 const grid(rows, static_cast<unsigned>(ceilDivide(task.items, task.sliceItems)));
    auto const shared = static_cast<std::size_t>(2 * bytesOf<KIND>(task.attributes));
    return launch(roiAlignKernel<T, CHANNELS, KIND, ADAPTIVE>, grid, dim3(kTHREADS), shared, stream, task);
}

template <typename T, int CHANNELS>
cudaError_t chooseKind(Task const& task, cudaStream_t stream)
{
    bool const adaptive = task.attributes.samplingRatio == 0;
    switch (task.attributes.mode)
    {
    case RoIAlignMode::kPOOL: return start<T, CHANNELS, BinKind::kPOOL, false>(task, stream);
    case RoIAlignMode::kALIGN_MAX:
        return adaptive ? start<T, CHANNELS, BinKind::kMAXIMUM, true>(task, stream)
                        : start<T, CHANNELS, BinKind::kMAXIMUM, false>(task, stream);
    case RoIAlignMode::kALIGN_AVG:
    case RoIAlignMode::kWARP: break;
    }
    return adaptive ? start<T, CHANNELS, BinKind::kAVERAGE, true>(task, stream)
                    : start<T, CHANNELS, BinKind::kAVERAGE, false>(task, stream);
}

template <typename T>
cudaError_t chooseLayout(Task const& task, cudaStream_t stream)
{
    return task.shape.layout == FeatureLayout::kHWC8 ? chooseKind<T, 8>(task, stream) : chooseKind<T, 1>(task, stream);
}

} // namespace

cudaError_t launchMultiscaleRoIAlign(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    void const* const* features, float const* boxes, std::int64_t const* images, void* output, cudaStream_t stream)
{
    std::int64_t const rows = rowsOf(shape, images).count();
    if (rows == 0)
    {
        return cudaSuccess;
    }
    Task task{attributes, shape, {}, boxes, rowsOf(shape, images), output, 0, 0};
    for (std::int32_t i = 0; i < attributes.numLevels; ++i)
    {
        task.features[i] = features[i];
    }
    std::int32_t const vector = shape.layout == FeatureLayout::kHWC8 ? 8 : 1;
    task.items = storedChannels(shape) / vector * attributes.pooledSide * attributes.pooledSide;
    std::int64_t const most = ceilDivide(task.items, kTHREADS);
    std::int64_t const slices = least(ceilDivide(kBLOCKS_WANTED, rows), most);
    task.sliceItems = ceilDivide(task.items, static_cast<std::int32_t>(slices));
    switch (shape.type)
    {
    case FeatureType::kFLOAT: return chooseLayout<float>(task, stream);
    case FeatureType::kHALF: return chooseLayout<__half>(task, stream);
    case FeatureType::kBFLOAT16: return chooseLayout<__nv_bfloat16>(task, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace maskline
