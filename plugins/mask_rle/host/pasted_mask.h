// One mask in its box, prepared for its columns of pixels to be walked.
#pragma once

#include "mask_rle/math.h"

#include <cstdint>

namespace maskline
{
namespace mask_rle
{

struct PastedMask
{
    static constexpr int kCELLS = kMAX_SIDE + 2;     //!< padded cells a side at most
    static constexpr int kSTRETCHES = kMAX_SIDE + 1; //!< at most
    static constexpr int kMIXED_BEYOND = 3;          //!< so many are read beyond the last pair

    ImageSize size;
    Axis columns;  //!< without a pixel when the mask has none in the image; then nothing below is set
    double step;   //!< of the rows
    double thresh; //!< of the rule
    Stretch stretches[kSTRETCHES];
    //! For each pair of neighbouring cell columns, the stretches that may cross the threshold, a bit each; then zeros.
    std::uint64_t mixed[kSTRETCHES + kMIXED_BEYOND];
    //! The mask's cells with a border of zeros, M + 2 a row.
    double cells[kCELLS * kCELLS + 16]; // a vector may read beyond the last one
};

//! Puts a mask [M, M] of probabilities into its box xyxy, px of the image.
void paste(float const* mask, std::int32_t side, float const* box, ImageSize size, PasteRule rule,
    PastedMask& pasted) noexcept;

//! Sets `cells` and `mixed` from a mask [M, M], clipped to 0..1 (NaN is 0), and `thresh`.
using PutCells = void (*)(float const* mask, std::int32_t side, PastedMask& pasted) noexcept;

void putCellsGeneric(float const* mask, std::int32_t side, PastedMask& pasted) noexcept;
void putCellsAvx512(float const* mask, std::int32_t side, PastedMask& pasted) noexcept;

//! Columns walked at once.
constexpr int kSTRIP = 64;
//! Edges of a strip at most, and what a vector may write beyond.
constexpr int kSTRIP_EDGES = kSTRIP * PastedMask::kSTRETCHES + 16;

//! Edges of the runs in columns begin..begin+count-1 of the box (`count` up to kSTRIP), as column-major positions in
//! the image: start, end, start, end, ... A run may have no pixel and may touch the next one.
//!
//! @param edges [kSTRIP_EDGES] out.
//! @return their number.
using StripEdges
    = std::int32_t (*)(PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;

std::int32_t stripEdgesGeneric(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;
std::int32_t stripEdgesAvx512(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;

//! The ones for this processor.
PutCells putCells() noexcept;
StripEdges stripEdges() noexcept;

} // namespace mask_rle
} // namespace maskline
