// ProposalNMS on the host.
#pragma once

#include "proposal_nms/attributes.h"
#include "proposal_nms/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{

//! Host pointers of one call; all of them contiguous, float32.
struct ProposalNMSHostBuffers
{
    float const* imageInfo;     //!< [B, 6] resized height and width first
    float const* const* logits; //!< L pointers to [B, A, Hi, Wi]
    float const* const* deltas; //!< L pointers to [B, 4A, Hi, Wi], channel 4a+j
    float* proposals;           //!< out [B, R, 4] xyxy, px of the canvas, best first; zeros past the count
    std::int32_t* numProposals; //!< out [B]
};

//! Computes ProposalNMS; levels and images are spread over threads.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @param threads at most so many; 0: as many as the process may run on.
void proposalNMSHost(ProposalNMSAttributes const& attributes, ProposalNMSShape const& shape,
    ProposalNMSHostBuffers const& buffers, int threads);

//! Candidates (key and flattened index) of all anchors whose logit is at least `lowest`, in any order.
//!
//! @param found out; room for `room`, which is a whole number of vectors of 16 and one more.
//! @return how many there are; more than `room - 16`: `found` is of no use.
std::size_t collectAvx512(
    ProposalLevel const& level, std::int32_t anchors, float lowest, std::uint64_t* found, std::size_t room);

//! Decodes candidates and drops boxes that are too small.
//!
//! @param columns x0 y0 x1 y1 area, out, padded to whole vectors.
//! @param keys out, padded likewise: the keys of what is left.
//! @return how many are left, in the order of the candidates.
std::size_t decodeAvx512(ProposalLevel const& level, Box const* corners, std::int32_t anchors,
    std::uint64_t const* candidates, std::size_t count, float imageHeight, float imageWidth, float minSide,
    float* const* columns, std::uint32_t* keys);

} // namespace maskline
