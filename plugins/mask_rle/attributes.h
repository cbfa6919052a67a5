// What MaskRLE is asked to do: the attributes of the node, and the shape and type of one call.
//
// Letters: B images, D detections an image, M mask side.
#pragma once

#include "mask_rle/math.h"

#include <cstdint>
#include <string>

namespace maskline
{

//! The value of the attribute `paste` for each PasteRule, in order.
constexpr char const* kPASTE_NAMES[] = {"aligned", "detectron"};

//! Attributes of MaskRLE; see README.md. Plain numbers: kernels may be compiled with another standard library.
struct MaskRLEAttributes
{
    //! The largest capacity: 4 MiB a mask.
    static constexpr std::int32_t kMAX_COUNTS{1 << 20};

    //! Capacity of one mask in run lengths. An object without holes needs two a column and one more.
    std::int32_t maxCounts{4096};
    mask_rle::PasteRule paste{mask_rle::PasteRule::kALIGNED};

    //! @return "" or the rule that is broken, with what was got and what is expected.
    std::string check() const
    {
        if (maxCounts < 1 || maxCounts > kMAX_COUNTS)
        {
            return "max_counts: got " + std::to_string(maxCounts) + ", expected 1.." + std::to_string(kMAX_COUNTS);
        }
        return "";
    }
};

//! What the probabilities of masks are given as.
enum class MaskType : int
{
    kFLOAT32 = 0,
    kFLOAT16 = 1,
    kBFLOAT16 = 2,
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

} // namespace maskline
