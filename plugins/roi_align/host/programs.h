// The averages of a call's boxes, run as programs for vector instructions (program.h) on groups of channels.
#pragma once

#include "roi_align/host/geometry.h"

#include <vector>

namespace maskline
{

//! Computes the boxes of `places`, neighbours in which read neighbouring rows (NCHW; kALIGN_AVG or kWARP; where
//! `simd()` says AVX-512).
void runRoIAlignPrograms(RoIAlignCall const& call, std::vector<RoIAlignPlace> const& places, int threads);

} // namespace maskline
