// ClasswiseNMS on the host.
#pragma once

#include "classwise_nms/attributes.h"
#include "classwise_nms/math.h"

#include <cstddef>
#include <cstdint>

namespace maskline
{

//! Host pointers of one call; all of them contiguous, row-major.
struct ClasswiseNMSHostBuffers
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

//! Computes ClasswiseNMS; images are spread over threads.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @param threads at most so many; 0: as many as the process may run on.
void classwiseNMSHost(ClasswiseNMSAttributes const& attributes, ClasswiseNMSShape const& shape,
    ClasswiseNMSHostBuffers const& buffers, int threads);

//! Candidates of one row: every class whose softmax score is above the threshold.
//!
//! @param logits K+1 of them.
//! @param firstIndex of class 0; class c has firstIndex + c.
//! @param terms scratch, K + 17 floats.
//! @param found out, room for K + 8.
//! @return how many there are.
std::size_t scoreRowAvx512(float const* logits, std::int32_t classes, float thresh, std::uint32_t firstIndex,
    float* terms, std::uint64_t* found);

//! Whether a box overlaps one of the first `count` kept boxes of its own class.
//!
//! @param kept x0 y0 x1 y1 area, readable in whole vectors; so are `labels`.
bool isSuppressedAvx512(float const* const* kept, std::int32_t const* labels, std::size_t count, Box const& box,
    float area, std::int32_t label, float thresh);

} // namespace maskline
