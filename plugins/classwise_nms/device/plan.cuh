// What every kernel of ClasswiseNMS is told: sizes, inputs, and where in the workspace things are.
//
// A group is one class of one image: g = image * K + class.
#pragma once

#include "classwise_nms/device/kernel.h"
#include "classwise_nms/math.h"
#include "common/device/block_select.cuh"

#include <cstdint>

namespace maskline
{

constexpr int kROW_THREADS = 256;     //!< a warp a row
constexpr int kCLASS_THREADS = 256;   //!< a block a group
constexpr int kIMAGE_THREADS = 1024;  //!< a block an image
constexpr int kCLASS_CAPACITY = 2048; //!< candidates of a group in shared memory: 16 KiB
constexpr int kKEPT_CAPACITY = 512;   //!< kept boxes of a group in shared memory: 10 KiB

struct DetectionPlan
{
    ClasswiseNMSBuffers buffers;
    float weights[4];
    std::int32_t rows;    //!< R
    std::int32_t classes; //!< K
    std::int32_t limit;   //!< D
    std::int32_t most;    //!< that a group can keep: min(D, R)
    float scoreThresh;
    float nmsThresh;
    float minSide;
    float* maxima;             //!< [B*R] the largest logit of a row
    float* sums;               //!< [B*R] of e^(logit - maximum)
    std::uint64_t* candidates; //!< [groups][sortSize(R)], only where R is above kCLASS_CAPACITY
    Box* keptBoxes;            //!< [groups][most], only where that is above kKEPT_CAPACITY
    float* keptAreas;          //!< likewise
    std::uint64_t* kept;       //!< [groups][most] keys and indices (row * K + class) that NMS leaves, best first
    std::int32_t* numKept;     //!< [groups]
    std::uint64_t* all;        //!< [B][K * most] the same of an image, only where that is above kSORT_CAPACITY
    std::uint64_t* sorted;     //!< [B][sortSize(min(D, K * most))], only where that is above kSORT_CAPACITY
};

//! Rows of an image that are no padding.
__device__ inline int rowsOf(DetectionPlan const& plan, int image)
{
    return least(greatest(plan.buffers.numProposals[image], 0), plan.rows);
}

//! The box of a candidate of an image; `index` is row * K + class.
__device__ inline Box boxOf(DetectionPlan const& plan, int image, std::uint32_t index)
{
    std::int64_t const row
        = static_cast<std::int64_t>(image) * plan.rows + index / static_cast<std::uint32_t>(plan.classes);
    std::int64_t const column = index % static_cast<std::uint32_t>(plan.classes);
    return detectionAt(plan.buffers.proposals + 4 * row, plan.buffers.boxDeltas + 4 * (row * plan.classes + column),
        plan.weights, plan.buffers.imageInfo[6 * image], plan.buffers.imageInfo[6 * image + 1]);
}

} // namespace maskline
