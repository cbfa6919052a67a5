// What every kernel of ProposalNMS is told: sizes, inputs, and where in the workspace things are.
//
// A group is one level of one image: g = image * L + level. T is the number of candidates of a group.
#pragma once

#include "common/device/block_select.cuh"
#include "proposal_nms/attributes.h"
#include "proposal_nms/math.h"

#include <cstdint>

namespace maskline
{

constexpr int kBIN_SHIFT = 20; //!< a bin is a key's upper 12 bits: sign, exponent and 3 bits of the mantissa
constexpr int kBINS = 1 << (32 - kBIN_SHIFT);
constexpr int kCOUNT_THREADS = 256;
constexpr int kCOUNT_EACH = 8; //!< logits a thread
constexpr int kCOUNT_BLOCK = kCOUNT_THREADS * kCOUNT_EACH;
constexpr int kGROUP_THREADS = 1024; //!< of kernels with one block a group

//! Up to so many candidates of a group, all pairs are compared by as many blocks as it takes; above, the T x T / 32
//! words of the result would take too much memory, and one block goes through them chunk by chunk.
constexpr int kMATRIX_LIMIT = 8192;

struct LevelPlan
{
    float const* logits;         //!< [B, A, Hi, Wi]
    float const* deltas;         //!< [B, 4A, Hi, Wi]
    std::int64_t firstCandidate; //!< of this level in an image's candidates
    std::int32_t height;         //!< Hi
    std::int32_t width;          //!< Wi
    std::int32_t count;          //!< A * Hi * Wi
    std::int32_t top;            //!< the most candidates it can have: min(T, count)
    std::int32_t firstBlock;     //!< of the kernels that read logits
    float stride;                //!< px
};

struct ProposalPlan
{
    LevelPlan level[ProposalNMSAttributes::kMAX_LEVELS];
    Box corners[ProposalNMSAttributes::kMAX_CORNERS]; //!< see cornersOf
    float const* imageInfo;                           //!< [B, 6]
    float* proposals;                                 //!< [B, R, 4]
    std::int32_t* numProposals;
    std::int64_t candidatesPerImage;
    std::int32_t levels;
    std::int32_t anchors;
    std::int32_t limit;  //!< R
    std::int32_t pitch;  //!< entries a group in the arrays below: the largest `top`, whole chunks of 32
    std::int32_t blocks; //!< of an image, of the kernels that read logits
    float centreOffset;
    float nmsThresh;
    float minSide;
    unsigned* bins;            //!< [groups][kBINS] how many logits
    unsigned* found;           //!< [groups] candidates so far
    std::uint64_t* candidates; //!< [B][candidatesPerImage]
    std::uint64_t* sorted;     //!< [groups][sortSize(pitch)], only where a group is too large for shared memory
    std::int32_t* numSorted;   //!< [groups]
    Box* boxes;                //!< [groups][pitch] best first
    std::uint32_t* keys;       //!< [groups][pitch]
    unsigned* valid;           //!< [groups][pitch / 32] which boxes are large enough
    unsigned* suppressors;   //!< [groups][pitch / 32][pitch]: bits of a chunk's boxes that overlap box j and are better
    Box* keptBoxes;          //!< [groups][pitch], only above kMATRIX_LIMIT
    float* keptAreas;        //!< likewise
    std::uint32_t* keptKeys; //!< [groups][pitch] of the boxes that NMS leaves
    std::int32_t* keptPlaces; //!< [groups][pitch] where they are in `boxes`
    std::int32_t* numKept;    //!< [groups] at most R
};

__device__ inline ProposalLevel levelOf(ProposalPlan const& plan, LevelPlan const& level, int image)
{
    return {level.logits + static_cast<std::int64_t>(image) * level.count,
        level.deltas + 4 * static_cast<std::int64_t>(image) * level.count, level.height, level.width, level.stride,
        plan.centreOffset};
}

} // namespace maskline
