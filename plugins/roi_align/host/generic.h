// MultiscaleRoIAlign of one box, in portable C++, for every mode, type and layout.
#pragma once

#include "roi_align/host/geometry.h"

#include <cstdint>
#include <vector>

namespace maskline
{

//! Lists that one thread fills again for each box.
struct RoIAlignScratch
{
    RoIAlignTaps rows;
    RoIAlignTaps columns;
    std::vector<RoIAlignSample> samples;
    std::vector<float> sums;
};

//! Writes all of one box's output.
void roiAlignGeneric(RoIAlignCall const& call, RoIAlignPlace const& place, RoIAlignScratch& scratch);

//! Writes zeros for a box without area.
void roiAlignNothing(RoIAlignCall const& call, std::int32_t row);

} // namespace maskline
