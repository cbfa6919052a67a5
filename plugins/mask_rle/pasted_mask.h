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
    static constexpr int kCELLS = kMAX_SIDE + 2;      //!< padded cells a side at most
    static constexpr int kSTRETCHES = kMAX_SIDE + 1;  //!< at most

    ImageSize size;
    Axis columns; //!< without a pixel when the mask has none in the image; then nothing below is set
    double step;  //!< rowStep
    Stretch stretches[kSTRETCHES];
    //! For each pair of neighbouring cell columns, the stretches that may cross the threshold, a bit each.
    std::uint64_t mixed[kSTRETCHES];
    //! The mask's cells with a border of zeros, M + 2 a row.
    double cells[kCELLS * kCELLS + 2 * 8]; //!< the last ones are read, not used
};

//! Puts a mask [M, M] into its box xyxy, px of the image.
void paste(std::uint8_t const* mask, std::int32_t side, float const* box, ImageSize size, PastedMask& pasted) noexcept;

//! Columns walked at once.
constexpr int kSTRIP = 64;
//! Edges of a strip at most.
constexpr int kSTRIP_EDGES = kSTRIP * PastedMask::kSTRETCHES;

//! Edges of the runs in columns begin..begin+count-1 of the box (`count` up to kSTRIP), as column-major positions in
//! the image: start, end, start, end, ... A run may have no pixel and may touch the next one.
//!
//! @param edges [kSTRIP_EDGES] out.
//! @return their number.
using StripEdges = std::int32_t (*)(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;

std::int32_t stripEdgesGeneric(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;
std::int32_t stripEdgesAVX512(
    PastedMask const& pasted, std::int32_t begin, std::int32_t count, std::int32_t* edges) noexcept;

//! The one for this processor.
StripEdges stripEdges() noexcept;

} // namespace mask_rle
} // namespace maskline
