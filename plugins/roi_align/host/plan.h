// Prepares the averages of boxes as a program for vector instructions.
#pragma once

#include "roi_align/host/geometry.h"
#include "roi_align/host/program.h"

#include <cstddef>
#include <vector>

namespace maskline
{

//! A program and the number of boxes in it.
struct RoIAlignProgram
{
    std::vector<RoIAlignBlock> blocks;
    std::size_t boxes = 0;
};

//! Lists that one thread fills again for each box.
struct RoIAlignPlanScratch
{
    RoIAlignTaps rows;
    RoIAlignTaps columns;
};

//! Appends a box to a program (NCHW, kALIGN_AVG or kWARP).
//!
//! @return false, and nothing is appended, when the box does not fit the scheme: a bin outside of the map, or one whose
//!     cells are too far apart for two windows. Such boxes are rare; the generic implementation takes them.
bool appendBox(
    RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignPlanScratch& scratch, RoIAlignProgram& program);

} // namespace maskline
