// Starts the MultiscaleRoIAlign kernel. Knows nothing of TensorRT.
#pragma once

#include "roi_align/attributes.h"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskline
{

//! Queues MultiscaleRoIAlign on a stream: one launch for all levels, no workspace, capturable in a CUDA graph.
//!
//! Writes every element of `output`, padded channels of kHWC8 included (zero).
//!
//! @param attributes must pass check().
//! @param shape must pass check().
//! @param features L device pointers in an array on the host, [B, C, Hi, Wi] each, 16-byte aligned when kHWC8.
//! @param boxes device pointer, float32 [B, R, 4] xyxy, px, 16-byte aligned.
//! @param images null; or device pointer, the image of each box: then the shape's `boxes` is the number of all boxes N,
//!     [N, 4], and a box of an image that is not there is answered with zeros.
//! @param output device pointer, [B * R, C, P, P] in the type and layout of the features.
//! @return cudaSuccess, also when there is no box; or why the launch was refused.
cudaError_t launchMultiscaleRoIAlign(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    void const* const* features, float const* boxes, std::int64_t const* images, void* output, cudaStream_t stream);

} // namespace maskline
