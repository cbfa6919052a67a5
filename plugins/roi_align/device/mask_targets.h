// Starts the kernel of mask targets: what the mask branch is trained towards. Knows nothing of PyTorch.
#pragma once

#include "roi_align/mask_targets.h"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskline
{

//! Device pointers of a call; contiguous.
struct MaskTargetsBuffers
{
    std::uint8_t const* pixels;  //!< [P]: crops of masks, one after the other, 0 or 1
    std::int64_t const* starts;  //!< [N] where the crop of a row's object begins
    std::int32_t const* windows; //!< [N, 4] the crop on the canvas: x0, y0, width, height, px
    float const* boxes;          //!< [N, 4] RoIs, xyxy, px of the canvas, 16-byte aligned
    float* targets;              //!< out [N, M, M]
};

//! Queues the mask targets of all images: of each RoI its object's crop, RoIAlign by average with adaptive sampling, so
//! that every pixel under a cell counts. One launch, no workspace, capturable in a CUDA graph.
//!
//! Writes every element: zeros for a row whose window has no width; NaN for one whose crop does not lie in the pixels.
//!
//! @param shape must have passed `read` of c_config.h.
//! @return cudaSuccess, also when there is no row; or why the launch was refused.
cudaError_t launchMaskTargets(MaskTargetsShape const& shape, MaskTargetsBuffers const& buffers, cudaStream_t stream);

} // namespace maskline
