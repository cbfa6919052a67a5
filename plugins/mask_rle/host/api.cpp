// MaskRLE in the plain C interface of libmaskline_host.so.

#include "common/export.h"
#include "common/status.h"
#include "mask_rle/c_config.h"
#include "mask_rle/host/op.h"

#include <cstdint>
#include <string>

//! encodeMasks (op.h): masks [N, M, M] in boxes [N, 4] of original images to COCO's compressed texts, by a PasteRule.
//!
//! Call it with a guess of the capacity; when offsets[N] is more, call it again with that much: it always suffices.
MASKLINE_API int maskline_host_encode_masks(float const* masks, float const* boxes, std::int32_t const* sizes,
    std::int64_t number, std::int32_t side, std::int32_t paste, std::int32_t threads, char* text, std::int64_t capacity,
    std::int64_t* offsets)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::PlacedMasks const placed{masks, boxes, sizes, number, side, paste};
        std::string broken = placed.check();
        if (broken.empty())
        {
            maskline::encodeMasks(placed, threads, text, capacity, offsets);
        }
        return broken;
    });
}

//! See MaskRLEArrays for the arrays; the masks are float32. Returns a Status; `maskline_last_error` has the text.
MASKLINE_API int maskline_host_mask_rle(MasklineMaskRLE const* config, float const* masks, float const* boxes,
    std::int32_t const* numDetections, float const* imageInfo, std::int32_t* counts, std::int32_t* numCounts,
    float* imageBoxes, int threads)
{
    return maskline::guarded("MaskRLE", [&]() -> std::string {
        maskline::MaskRLEAttributes attributes;
        maskline::MaskRLEShape shape;
        maskline::MaskType type{maskline::MaskType::kFLOAT32};
        std::string text = maskline::read(*config, attributes, shape, type);
        if (text.empty() && type != maskline::MaskType::kFLOAT32)
        {
            text = "type of the masks: got " + std::to_string(config->maskType) + ", expected 0 (float32) on the host";
        }
        if (text.empty())
        {
            maskline::maskRLE(
                attributes, shape, {masks, boxes, numDetections, imageInfo, counts, numCounts, imageBoxes}, threads);
        }
        return text;
    });
}
