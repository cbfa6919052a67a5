// What mask targets are asked for: the sizes of one call.
#pragma once

#include <cstdint>

namespace maskline
{

//! Sizes of a call.
struct MaskTargetsShape
{
    std::int64_t pixels;  //!< P, bytes of all crops
    std::int32_t rows;    //!< N, RoIs
    std::int32_t side;    //!< M, 1..64
    std::int32_t aligned; //!< 1: half-pixel shift; 0: no shift and a side of at least one pixel
};

} // namespace maskline
