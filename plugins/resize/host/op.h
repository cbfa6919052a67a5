// Resize on the host: pictures as OpenCV, PyTorch or Pillow resize them, without any of them.
#pragma once

#include <cstdint>
#include <string>

namespace maskline
{

//! Whose filter; all bilinear between pixel centres, Pillow's alone antialiased. See README.md.
enum class ResizeFilter : std::int32_t
{
    kCV2 = 0,    //!< OpenCV's INTER_LINEAR on uint8, byte for byte
    kTORCH = 1,  //!< PyTorch's on float32, rounded to whole numbers
    kPILLOW = 2, //!< Pillow's BILINEAR, byte for byte; of pictures that do not become lower
};

//! Sizes of a call, in pixels.
struct ResizeShape
{
    std::int32_t height;        //!< H
    std::int32_t width;         //!< W
    std::int32_t resizedHeight; //!< h
    std::int32_t resizedWidth;  //!< w

    //! @return "" or the rule that is broken, with what was got and what is expected.
    std::string check() const;
};

//! Resizes a picture. The shape must have passed its `check`.
//!
//! @param image [H, W, 3], contiguous.
//! @param threads to use at most, as many as pay for themselves; 0: as the process may use.
//! @param resized [h, w, 3] out, apart from the image.
void resize(
    ResizeShape const& shape, ResizeFilter filter, std::uint8_t const* image, int threads, std::uint8_t* resized);

} // namespace maskline
