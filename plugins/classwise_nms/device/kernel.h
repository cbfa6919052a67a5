// ClasswiseNMS on the GPU: queues its kernels on a stream; knows nothing of TensorRT.
#pragma once

#include "classwise_nms/attributes.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace maskline
{

//! Device pointers of one call; all of them contiguous, row-major.
struct ClasswiseNMSBuffers
{
    float const* classLogits;         //!< [B*R, K+1], background last
    float const* boxDeltas;           //!< [B*R, 4K], four of class 0 first
    float const* proposals;           //!< [B, R, 4] xyxy, px of the canvas
    std::int32_t const* numProposals; //!< [B] rows past it are padding; read as 0..R
    float const* imageInfo;           //!< [B, 6] resized height and width first
    float* boxes;                     //!< out [B, D, 4] xyxy, px of the canvas, best first; zeros past the count
    float* scores;                    //!< out [B, D]; zeros past the count
    std::int32_t* labels;             //!< out [B, D]; -1 past the count
    std::int32_t* numDetections;      //!< out [B, 1]
};

//! Bytes of device memory that `launchClasswiseNMS` wants; grows with every length of the shape.
//!
//! The attributes and the shape must have passed their `check`.
std::size_t classwiseNMSWorkspaceBytes(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape);

//! Queues ClasswiseNMS; never synchronises, allocates or copies, so it can be captured in a CUDA graph. Writes every
//! output element. The same input gives the same bytes.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @param workspace device memory aligned to 256 bytes, of any content; used until the last kernel has run.
//! @return cudaSuccess, or why a launch was refused.
cudaError_t launchClasswiseNMS(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape,
    ClasswiseNMSBuffers const& buffers, void* workspace, cudaStream_t stream);

} // namespace maskline
