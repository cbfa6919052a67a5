// What ClasswiseNMS computes for one proposal and class, for host, CUDA and the emulator.
#pragma once

#include "common/box_math.h"

#include <cstdint>

namespace maskline
{

//! Terms of a softmax are summed in so many partial sums (class modulo this), then pairwise: (s, s + 16), (s, s + 8),
//! ... Every path adds in this order, so that all give the same scores to the bit.
constexpr std::int32_t kSOFTMAX_LANES = 32;

//! The term of one class: e^(logit - the row's maximum). NaN where either is NaN or the maximum infinite.
MASKLINE_HD float softmaxTerm(float logit, float maximum)
{
    return expFloat(logit - maximum);
}

//! The clipped box that a class makes of a proposal.
//!
//! @param proposal xyxy, px.
//! @param deltas four of this class.
//! @param weights what they are divided by.
MASKLINE_HD Box detectionAt(
    float const* proposal, float const* deltas, float const* weights, float imageHeight, float imageWidth)
{
    Box const anchor{proposal[0], proposal[1], proposal[2], proposal[3]};
    BoxDelta const delta{
        deltas[0] / weights[0], deltas[1] / weights[1], deltas[2] / weights[2], deltas[3] / weights[3]};
    return decodeBox(anchor, delta, imageHeight, imageWidth);
}

} // namespace maskline
