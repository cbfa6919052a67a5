// The averages of many boxes, prepared for vector instructions: plain data that a run only walks along.
//
// The average over a bin's sampling points is separable: out = Wy F Wx^T. A box becomes, for each pooled row, a few
// (feature row, weight) pairs; and for each pooled column a few (column, weight) pairs, where a column is a lane of one
// or two vectors of 16 cells (windows) that hold the weighted sum of the rows. Bins that need more cells than two
// windows hold are cut into strips of neighbouring bins.
//
// A program is a sequence of 64-byte blocks: for each box a RoIAlignBoxHead, P * rowTaps offsets and P * rowTaps
// weights (each rounded up to blocks), and for each strip a RoIAlignStripHead, `taps` blocks of lane numbers and `taps`
// blocks of weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace maskline
{

constexpr std::int32_t kROI_ALIGN_LANES = 16;
constexpr std::int32_t kROI_ALIGN_NARROW = 8; //!< cells of a narrow window
constexpr std::int32_t kROI_ALIGN_LINE = 64;  //!< bytes of a cache line

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
};

//! How the lanes of a strip are made. A narrow window costs half of what a whole one does where vectors of 64 bytes are
//! worked on in two halves (Zen 4), and lies on two cache lines half as often.
enum class RoIAlignStripKind : std::int32_t
{
    kTWO_NARROW_ROWS = 0, //!< one narrow window; lanes are the bins of a pooled row and of the next one
    kTWO_ROWS = 1,        //!< one window; the same lanes
    kONE_WINDOW = 2,      //!< one window; lanes are bins
    kWIDE_AND_NARROW = 3, //!< two windows, the second one narrow; lanes are bins
    kTWO_WINDOWS = 4,     //!< lanes are bins
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

//! Neighbouring cache lines of each plane of a level.
struct RoIAlignStretch
{
    std::int32_t level;
    std::int32_t first; //!< counted from the line on which the level's first plane begins
    std::int32_t lines;
};

//! The planes of one level of an image.
struct RoIAlignPlanes
{
    char const* first;  //!< where the line begins on which the first plane does
    std::int64_t bytes; //!< of a plane
};

//! What is fetched while a program runs, because the next one reads it.
struct RoIAlignAhead
{
    RoIAlignPlanes const* levels;
    RoIAlignStretch const* stretches;
    std::size_t count;  //!< of stretches
    std::int64_t lines; //!< of all stretches, in one plane each
    std::int32_t firstChannel;
    std::int32_t numChannels;
};

//! Runs the program of `boxes` boxes with AVX-512. Call it only where `simd()` says so.
void runRoIAlignAvx512(
    RoIAlignBlock const* program, std::size_t boxes, RoIAlignRun const& run, RoIAlignAhead const& ahead);

} // namespace maskline
