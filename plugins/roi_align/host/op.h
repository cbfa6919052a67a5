// MultiscaleRoIAlign on the host.
//
// Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
#pragma once

#include "roi_align/attributes.h"

namespace maskline
{

//! One call: what, on what, into what.
struct RoIAlignCall
{
    RoIAlignAttributes attributes; //!< passes check()
    RoIAlignShape shape;           //!< passes check()
    void const* const* features;   //!< L maps [B, C, Hi, Wi] in the type and layout of `shape`
    float const* boxes;            //!< [B, R, 4] xyxy, px
    void* output;                  //!< [B * R, C, P, P] in the type and layout of `shape`
};

//! Computes a call; every element of the output is written.
//!
//! Reads nothing outside of the maps. Sums are float32, in an order that does not depend on the number of threads.
//!
//! @param threads 0: all cores this process may use.
void multiscaleRoIAlign(RoIAlignCall const& call, int threads);

} // namespace maskline
