// MaskRLE on the GPU: queues one kernel on a stream; knows nothing of TensorRT.
#pragma once

#include "mask_rle/attributes.h"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskline
{

//! Device pointers of one call; all of them contiguous, row-major.
struct MaskRLEBuffers
{
    void const* masks;                 //!< [B, D, M, M] probabilities, clipped to 0..1
    float const* boxes;                //!< [B, D, 4] xyxy, px of the canvas
    std::int32_t const* numDetections; //!< [B, 1]
    float const* imageInfo;            //!< [B, 6] resized_h, resized_w, scale_y, scale_x, original_h, original_w
    std::int32_t* counts;              //!< out [B, D, maxCounts] run lengths, zeros first; 0 past their number
    std::int32_t* numCounts;           //!< out [B, D] how many; negative: how many it needs, for they do not fit
    float* imageBoxes;                 //!< out [B, D, 4] xyxy, px of the original image; may be null
};

//! Queues MaskRLE. Needs no workspace; never synchronises or allocates; writes every output element.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @return cudaSuccess, or why the launch was refused.
cudaError_t launchMaskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskType type,
    MaskRLEBuffers const& buffers, cudaStream_t stream);

} // namespace maskline
