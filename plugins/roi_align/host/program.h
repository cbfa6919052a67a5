// The averages of many boxes, prepared for vector instructions: plain data that a run only walks along.
//
// The average over a bin's sampling points is separable: out = Wy F Wx^T. A box becomes, for each pooled row, a few
// (feature row, weight) pairs; and for each pooled column a few (column, weight) pairs, where a column is a lane of one
// or two vectors of 16 cells (windows) that hold the weighted sum of the rows. Bins that need more cells than two
// windows hold are cut into strips of neighbouring bins.
//
// A program is a sequence of 64-byte blocks: for each box a RoIAlignBoxHead, P * rowTaps offsets, P * rowTaps weights
// and `rows` offsets of the feature rows read (each rounded up to blocks), and for each strip a RoIAlignStripHead,
// `taps` blocks of lane numbers and `taps` blocks of weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace maskline
{

constexpr std::int32_t kROI_ALIGN_LANES = 16;

struct alignas(64) RoIAlignBlock
{
    unsigned char bytes[64];
};

struct alignas(64) RoIAlignBoxHead
{
    void const* map;      //!< the first channel's plane
    std::int64_t plane;   //!< elements of a plane
    std::int32_t row;     //!< of the output
    std::int32_t rowTaps; //!< pairs of each pooled row; short rows repeat a cell with weight 0
    std::int32_t strips;
    std::int32_t blocks; //!< of this box in the program
    std::int32_t rows;   //!< different feature rows that the box reads
    std::int32_t firstColumn;
    std::int32_t columns; //!< from the first column to the last one that the box reads
};

//! How the lanes of a strip are made.
enum class RoIAlignStripKind : std::int32_t
{
    kTWO_ROWS = 0,    //!< one window; lanes are the bins of a pooled row and of the next one
    kONE_WINDOW = 1,  //!< one window; lanes are bins
    kTWO_WINDOWS = 2, //!< lanes are bins
};

struct alignas(64) RoIAlignStripHead
{
    RoIAlignStripKind kind;
    std::int32_t taps; //!< pairs of each bin; short bins repeat a cell with weight 0
    std::int32_t firstBin;
    std::int32_t bins;
    std::int32_t windows[2]; //!< first column of each window
    std::uint32_t masks[2];  //!< lanes of each window that may be read
};

//! Blocks that hold `count` numbers of 4 bytes.
constexpr std::size_t blocksOf(std::size_t count)
{
    return (count + kROI_ALIGN_LANES - 1) / kROI_ALIGN_LANES;
}

//! What a program is run on.
struct RoIAlignRun
{
    std::int32_t type; //!< FeatureType of the maps and the output, NCHW
    std::int32_t pooledSide;
    std::int32_t channels;     //!< C
    std::int32_t firstChannel; //!< this run's first
    std::int32_t numChannels;  //!< this run's number, 16 at most
    void* output;              //!< [B * R, C, P, P]
    float* staging;            //!< room for 16 * P * P + 16 numbers, 64-byte aligned
    bool streams;              //!< write the output past the caches
};

constexpr std::int32_t kROI_ALIGN_RUN_CHANNELS = 16;

//! Runs the program of `boxes` boxes with AVX-512. Call it only where `simd()` says so.
void runRoIAlignAvx512(RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run);

} // namespace maskline
