// Which cache lines of the maps each batch of boxes is the first to read: what to fetch for it while the one before it
// is worked on.
#pragma once

#include "roi_align/host/geometry.h"
#include "roi_align/host/program.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

//! Boxes begin..end-1 of a list, all of one image.
struct RoIAlignBatch
{
    std::size_t begin;
    std::size_t end;
};

//! What one batch is the first to read of each plane of its image.
struct RoIAlignFirstReads
{
    std::vector<RoIAlignStretch> stretches;
    std::int64_t lines = 0; //!< of all stretches
};

//! The planes of each level of an image.
std::vector<RoIAlignPlanes> planesOf(RoIAlignCall const& call, std::int32_t image);

//! Fills `reads`, one of each batch, in the order in which they are worked on (NCHW).
void findFirstReads(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places,
    std::vector<RoIAlignBatch> const& batches, std::vector<RoIAlignFirstReads>& reads);

} // namespace maskline
