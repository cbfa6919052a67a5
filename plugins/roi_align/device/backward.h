// Starts the kernels of MultiscaleRoIAlign's backward. Knows nothing of PyTorch.
#pragma once

#include "roi_align/attributes.h"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskline
{

//! Queues the gradient of the features of an average on a stream: one launch for all levels, no workspace, capturable
//! in a CUDA graph.
//!
//! Adds to what `gradients` hold, so that the caller clears them, or collects several calls in them.
//!
//! @param attributes must pass check(); the mode is kALIGN_AVG or kWARP.
//! @param shape must pass check(); the type is that of `pooled`, the layout that of `pooled` and `gradients`.
//! @param deterministic true: each cell is one thread's, which sums the boxes in order; false: boxes add by reductions
//!     in global memory, so that sums differ in the last bits from run to run.
//! @param pooled device pointer, gradient of the output, [B * R, C, P, P], 16-byte aligned when kHWC8.
//! @param boxes device pointer, float32 [B, R, 4] xyxy, px, 16-byte aligned: those of the forward.
//! @param images null or device pointer, as the forward's.
//! @param gradients L device pointers in an array on the host, float32 [B, C, Hi, Wi] each, 16-byte aligned when kHWC8.
//! @return cudaSuccess, also when there is no box; or why the launch was refused.
cudaError_t launchMultiscaleRoIAlignBackward(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    bool deterministic, void const* pooled, float const* boxes, std::int64_t const* images, float* const* gradients,
    cudaStream_t stream);

//! The same of a maximum: kALIGN_MAX or kPOOL, without a deterministic variant.
//!
//! @param features those of the forward, in the type and layout of `pooled`, which say where the maximum was.
cudaError_t launchMultiscaleRoIAlignBackwardOfMaxima(RoIAlignAttributes const& attributes, RoIAlignShape const& shape,
    void const* const* features, void const* pooled, float const* boxes, std::int64_t const* images,
    float* const* gradients, cudaStream_t stream);

} // namespace maskline
