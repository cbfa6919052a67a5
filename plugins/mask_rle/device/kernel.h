// MaskRLE on the GPU: queues one kernel on a stream; knows nothing of TensorRT.
#pragma once

#include "mask_rle/attributes.h"
#include "mask_rle/math.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace maskline
{

//! What the masks are given as; each holds the whole numbers 0..255 exactly.
enum class MaskType : int
{
    kUINT8 = 0,
    kFLOAT32 = 1,
    kFLOAT16 = 2,
    kBFLOAT16 = 3,
};

//! Sizes of one call.
struct MaskRLEShape
{
    //! The largest mask side; see math.h.
    static constexpr std::int32_t kMAX_SIDE{mask_rle::kMAX_SIDE};

    std::int32_t images{0};     //!< B
    std::int32_t detections{0}; //!< D, slots an image
    std::int32_t side{0};       //!< M, cells a side of a mask

    //! @return "" or the rule that is broken, with what was got and what is expected. B and D may be 0.
    std::string check() const
    {
        if (images < 0 || detections < 0)
        {
            return "masks: got " + std::to_string(images) + " images of " + std::to_string(detections)
                + " detections, expected 0 or more";
        }
        if (static_cast<std::int64_t>(images) * detections > INT32_MAX)
        {
            return "masks: got " + std::to_string(images) + " x " + std::to_string(detections)
                + ", expected at most 2147483647 masks";
        }
        if (side < 1 || side > kMAX_SIDE)
        {
            return "masks: got side " + std::to_string(side) + ", expected 1.." + std::to_string(kMAX_SIDE);
        }
        return "";
    }
};

//! Device pointers of one call; all of them contiguous, row-major.
struct MaskRLEBuffers
{
    void const* masks;                 //!< [B, D, M, M] probability x 255, whole numbers
    float const* boxes;                //!< [B, D, 4] xyxy, px of the canvas
    std::int32_t const* numDetections; //!< [B, 1]
    float const* imageInfo;            //!< [B, 6] resized_h, resized_w, scale_y, scale_x, original_h, original_w
    std::int32_t* counts;              //!< out [B, D, maxCounts] run lengths, zeros first; 0 past their number
    std::int32_t* numCounts;           //!< out [B, D] how many; negative: how many it needs, for they do not fit
    float* imageBoxes;                 //!< out [B, D, 4] xyxy, px of the original image; may be null
};

//! Queues MaskRLE. Needs no workspace; never synchronises or allocates; writes every output element.
//!
//! The attributes and the shape must have passed their `check`.
//!
//! @return cudaSuccess, or why the launch was refused.
cudaError_t launchMaskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskType type,
    MaskRLEBuffers const& buffers, cudaStream_t stream);

} // namespace maskline
