// Pillow's bilinear filter, byte for byte: what a network's pictures are resized by unless its manifest says otherwise.
#pragma once

#include "resize/host/op.h"

#include <cstdint>

namespace maskline
{
namespace resize_host
{

//! Resizes a picture as Pillow's `Image.resize` with BILINEAR: first the lines, rounded to bytes, then the columns.
//!
//! @param image [H, W, 3].
//! @param threads to use, 1 or more.
//! @param resized [h, w, 3] out.
void resizeAsPillow(ResizeShape const& shape, std::uint8_t const* image, int threads, std::uint8_t* resized);

} // namespace resize_host
} // namespace maskline
