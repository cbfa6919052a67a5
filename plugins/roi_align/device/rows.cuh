// Which image a row of boxes is of.
#pragma once

#include "common/host_device.h"
#include "roi_align/attributes.h"

#include <cstdint>

namespace maskline
{

//! Rows b * R .. b * R + R - 1 are of image b; where each says its own, `perImage` is the number of all rows.
struct RoIAlignRows
{
    std::int64_t const* images; //!< null, or the image of each row
    std::int32_t perImage;      //!< R
    std::int32_t numImages;     //!< B

    //! The image of a row; -1 where it names none of the batch.
    __device__ std::int32_t imageOf(std::int32_t row) const
    {
        if (images == nullptr)
        {
            return row / perImage;
        }
        std::int64_t const image = images[row];
        return image >= 0 && image < numImages ? static_cast<std::int32_t>(image) : -1;
    }

    //! All rows of a call.
    MASKLINE_HD std::int64_t count() const
    {
        return images == nullptr ? std::int64_t{numImages} * perImage : perImage;
    }
};

inline RoIAlignRows rowsOf(RoIAlignShape const& shape, std::int64_t const* images)
{
    return {images, shape.boxes, shape.images};
}

} // namespace maskline
