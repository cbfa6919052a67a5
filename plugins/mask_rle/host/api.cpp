// MaskRLE of libmaskline_host.so.
#include "common/export.h"
#include "common/status.h"
#include "mask_rle/host/op.h"

#include <cstdint>
#include <string>

//! encodeMasks (op.h): masks [N, M, M] in boxes [N, 4] of original images to COCO's compressed texts.
//!
//! Call it with a guess of the capacity; when offsets[N] is more, call it again with that much: it always suffices.
MASKLINE_API int maskline_host_encode_masks(std::uint8_t const* masks, float const* boxes, std::int32_t const* sizes,
    std::int64_t number, std::int32_t side, std::int32_t threads, char* text, std::int64_t capacity,
    std::int64_t* offsets)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::PlacedMasks const placed{masks, boxes, sizes, number, side};
        std::string broken = placed.check();
        if (broken.empty())
        {
            maskline::encodeMasks(placed, threads, text, capacity, offsets);
        }
        return broken;
    });
}

//! The op, on arrays of the host: see README.md.
MASKLINE_API int maskline_host_mask_rle(std::uint8_t const* masks, float const* boxes,
    std::int32_t const* numDetections, float const* imageInfo, std::int32_t images, std::int32_t detections,
    std::int32_t side, std::int32_t maxCounts, std::int32_t threads, std::int32_t* counts, std::int32_t* numCounts,
    float* imageBoxes)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::MaskRLEAttributes const attributes{maxCounts};
        maskline::MaskRLEArrays const arrays{
            masks, boxes, numDetections, imageInfo, images, detections, side, counts, numCounts, imageBoxes};
        std::string broken = attributes.check();
        broken = broken.empty() ? arrays.check() : broken;
        if (broken.empty())
        {
            maskline::maskRLE(attributes, arrays, threads);
        }
        return broken;
    });
}
