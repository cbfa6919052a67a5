// ProposalNMS on the GPU: queues its kernels on a stream; knows nothing of TensorRT.
#pragma once

#include "proposal_nms/attributes.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace maskline
{

//! Device pointers of one call (the two arrays of pointers are the host's); all of them contiguous, float32.
struct ProposalNMSBuffers
{
    float const* imageInfo;     //!< [B, 6] resized height and width first
    float const* const* logits; //!< L host pointers to device [B, A, Hi, Wi]
    float const* const* deltas; //!< L host pointers to device [B, 4A, Hi, Wi], channel 4a+j
    float* proposals;           //!< out [B, R, 4] xyxy, px of the canvas, best first; zeros past the count
    std::int32_t* numProposals; //!< out [B]
};

//! Bytes of device memory that `launchProposalNMS` wants; grows with every length of the shape.
//!
//! The attributes and the shape must have passed their `check`.
std::size_t proposalNMSWorkspaceBytes(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape);

//! Queues ProposalNMS; never synchronises, allocates or copies, so it can be captured in a CUDA graph. Writes every
//! output element. The same input gives the same bytes.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @param workspace device memory aligned to 256 bytes, of any content; used until the last kernel has run.
//! @return cudaSuccess, or why a launch was refused.
cudaError_t launchProposalNMS(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape,
    ProposalNMSBuffers const& buffers, void* workspace, cudaStream_t stream);

} // namespace maskline
