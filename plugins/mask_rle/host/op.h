// MaskRLE on the host: masks in their boxes to COCO's run-length encoding, as text or as counts.
#pragma once

#include "mask_rle/attributes.h"

#include <cstdint>
#include <string>

namespace maskline
{

//! Masks in boxes of the original image; all arrays contiguous, row-major.
struct PlacedMasks
{
    float const* masks;        //!< [N, M, M] probabilities, clipped to 0..1
    float const* boxes;        //!< [N, 4] xyxy, px of the original image; one without area gives the empty mask
    std::int32_t const* sizes; //!< [N, 2] height, width of the original image
    std::int64_t number;       //!< N
    std::int32_t side;         //!< M
    std::int32_t paste;        //!< a PasteRule

    //! @return "" or the rule that is broken, with what was got and what is expected.
    std::string check() const;
};

//! Writes COCO's compressed text of every mask, one after the other.
//!
//! @param threads to use at most, as many as pay for themselves; 0: as the process may use.
//! @param text [capacity] out. Nothing is written when all texts together are longer.
//! @param offsets [N + 1] out, always: text i is text[offsets[i]] .. text[offsets[i + 1] - 1].
void encodeMasks(PlacedMasks const& placed, int threads, char* text, std::int64_t capacity, std::int64_t* offsets);

//! Inputs and outputs of the op; all arrays contiguous, row-major. See README.md.
struct MaskRLEArrays
{
    float const* masks;                //!< [B, D, M, M] probabilities, clipped to 0..1
    float const* boxes;                //!< [B, D, 4] xyxy, px of the canvas
    std::int32_t const* numDetections; //!< [B, 1]
    float const* imageInfo;            //!< [B, 6] resized_h, resized_w, scale_y, scale_x, original_h, original_w
    std::int32_t* counts;              //!< out [B, D, maxCounts]
    std::int32_t* numCounts;           //!< out [B, D]
    float* imageBoxes;                 //!< out [B, D, 4]
};

//! The op, as the kernel does it. The attributes and the shape must have passed their `check`.
void maskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskRLEArrays const& arrays, int threads);

} // namespace maskline
