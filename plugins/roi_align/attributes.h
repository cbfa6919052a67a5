// What MultiscaleRoIAlign is asked to do: the attributes of the node, and the shape of one call.
//
// Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

namespace maskline
{

enum class RoIAlignMode : std::int32_t
{
    kALIGN_AVG = 0, //!< bilinear value at each sampling point, then their average
    kALIGN_MAX = 1, //!< bilinear value at each sampling point, then their maximum (the Mask R-CNN paper's)
    kPOOL = 2,      //!< RoIPool: the maximum over the cells of a quantised bin
    kWARP = 3,      //!< RoIWarp: the RoI quantised as by RoIPool, then as kALIGN_AVG
};

//! The value of the attribute `mode` for each RoIAlignMode, in order.
constexpr char const* kROI_ALIGN_MODE_NAMES[] = {"align_avg", "align_max", "pool", "warp"};
constexpr std::int32_t kROI_ALIGN_MODES = 4;
constexpr std::int32_t kROI_ALIGN_MAX_LEVELS = 8;
// The kernel keeps one RoI's sampling points in shared memory: these bounds keep them below 48 KiB.
constexpr std::int32_t kROI_ALIGN_MAX_POOLED_SIDE = 64;
constexpr std::int32_t kROI_ALIGN_MAX_SAMPLING_RATIO = 16;
constexpr std::int32_t kROI_ALIGN_MAX_CHANNELS = 65536; // one box's output stays below 2^31 elements

//! Attributes of a node; mirrored by ctypes, so fields of 4 bytes only.
struct RoIAlignAttributes
{
    std::int32_t numLevels;                      //!< L, 1..8
    std::int32_t strides[kROI_ALIGN_MAX_LEVELS]; //!< px a cell of each level: a power of two, each twice the one before
    float canonicalSize;                         //!< px: a box of this side is read from level `canonicalLevel`
    std::int32_t canonicalLevel;                 //!< level numbers: stride 4 is level 2
    std::int32_t pooledSide;                     //!< P, 1..64
    std::int32_t samplingRatio;                  //!< S, 0..16; 0: ceil(bin side), another for each box and axis
    std::int32_t aligned;                        //!< 1: half-pixel shift; 0: no shift and a side of at least one cell
    RoIAlignMode mode;

    //! "" or the first rule that is broken, with what was got and what is expected.
    std::string check() const;
};

enum class FeatureType : std::int32_t
{
    kFLOAT = 0,
    kHALF = 1,
    kBFLOAT16 = 2,
};

enum class FeatureLayout : std::int32_t
{
    kNCHW = 0, //!< [N][C][H][W]
    kHWC8 = 1, //!< TensorRT's kHWC8: memory [N][H][W][ceil(C / 8) * 8]
};

//! The shape of one call. Features and output have the same type and layout; boxes are float32 [B, R, 4] always.
struct RoIAlignShape
{
    FeatureType type;
    FeatureLayout layout;
    std::int32_t images;                         //!< B
    std::int32_t boxes;                          //!< R, boxes an image; of training, where each says its image: all
    std::int32_t channels;                       //!< C
    std::int32_t heights[kROI_ALIGN_MAX_LEVELS]; //!< Hi, cells
    std::int32_t widths[kROI_ALIGN_MAX_LEVELS];  //!< Wi, cells

    //! "" or the first rule that is broken; `levels` is the number of heights and widths in use.
    std::string check(std::int32_t levels) const;
};

//! Channels as they lie in memory: C, or the next multiple of 8 with kHWC8.
inline std::int32_t storedChannels(RoIAlignShape const& shape)
{
    return shape.layout == FeatureLayout::kHWC8 ? (shape.channels + 7) / 8 * 8 : shape.channels;
}

inline std::string RoIAlignAttributes::check() const
{
    auto const between = [](char const* name, std::int32_t got, std::int32_t low, std::int32_t high) {
        return got >= low && got <= high ? std::string()
                                         : std::string(name) + ": got " + std::to_string(got) + ", expected "
                + std::to_string(low) + ".." + std::to_string(high);
    };
    struct
    {
        char const* name;
        std::int32_t got, low, high;
    } const ranges[] = {
        {"number of strides", numLevels, 1, kROI_ALIGN_MAX_LEVELS},
        {"canonical_level", canonicalLevel, 0, 30},
        {"pooled_side", pooledSide, 1, kROI_ALIGN_MAX_POOLED_SIDE},
        {"sampling_ratio", samplingRatio, 0, kROI_ALIGN_MAX_SAMPLING_RATIO},
        {"aligned", aligned, 0, 1},
        {"mode", static_cast<std::int32_t>(mode), 0, kROI_ALIGN_MODES - 1},
    };
    for (auto const& range : ranges)
    {
        std::string const broken = between(range.name, range.got, range.low, range.high);
        if (!broken.empty())
        {
            return broken;
        }
    }
    if (!std::isfinite(canonicalSize) || canonicalSize <= 0.0F)
    {
        return "canonical_size: got " + std::to_string(canonicalSize) + ", expected a number of pixels above 0";
    }
    for (std::int32_t i = 0; i < numLevels; ++i)
    {
        std::int32_t const stride = strides[i];
        bool const power = stride > 0 && stride <= (1 << 20) && (stride & (stride - 1)) == 0;
        if (!power || (i > 0 && stride != 2 * strides[i - 1]))
        {
            return "strides[" + std::to_string(i) + "]: got " + std::to_string(stride)
                + ", expected a power of two, twice the stride before it";
        }
    }
    return "";
}

inline std::string RoIAlignShape::check(std::int32_t levels) const
{
    auto const outside = [](std::string const& name, std::int64_t got, std::int64_t low, std::string const& expected) {
        return got >= low ? std::string() : name + ": got " + std::to_string(got) + ", expected " + expected;
    };
    if (type < FeatureType::kFLOAT || type > FeatureType::kBFLOAT16)
    {
        return "feature type: got " + std::to_string(static_cast<std::int32_t>(type))
            + ", expected 0 (float32), 1 (float16) or 2 (bfloat16)";
    }
    if (layout != FeatureLayout::kNCHW && layout != FeatureLayout::kHWC8)
    {
        return "layout: got " + std::to_string(static_cast<std::int32_t>(layout)) + ", expected 0 (NCHW) or 1 (HWC8)";
    }
    std::string broken = outside("batch", images, 0, "0 or more");
    broken = broken.empty() ? outside("boxes an image", boxes, 0, "0 or more") : broken;
    broken = broken.empty() ? outside("channels", channels, 1, "1..65536") : broken;
    broken = broken.empty() && channels > kROI_ALIGN_MAX_CHANNELS
        ? "channels: got " + std::to_string(channels) + ", expected 1..65536"
        : broken;
    constexpr std::int64_t kMOST = 0x7fffffff;
    if (broken.empty() && std::int64_t{images} * boxes > kMOST)
    {
        broken = "batch x boxes: got " + std::to_string(std::int64_t{images} * boxes) + ", expected at most 2^31-1";
    }
    for (std::int32_t i = 0; i < levels && broken.empty(); ++i)
    {
        std::string const name = "feature " + std::to_string(i);
        broken = outside(name + " height", heights[i], 1, "1 or more");
        broken = broken.empty() ? outside(name + " width", widths[i], 1, "1 or more") : broken;
        if (broken.empty() && std::int64_t{heights[i]} * widths[i] > kMOST)
        {
            broken = name + ": got " + std::to_string(std::int64_t{heights[i]} * widths[i])
                + " cells, expected at most 2^31-1";
        }
        // Vectors of eight elements are counted in 32 bits.
        if (broken.empty() && layout == FeatureLayout::kHWC8)
        {
            std::int64_t const elements = std::int64_t{heights[i]} * widths[i] * storedChannels(*this);
            broken = elements / 8 > kMOST
                ? name + ": got " + std::to_string(elements) + " elements an image, expected less than 2^34"
                : "";
        }
    }
    return broken;
}

} // namespace maskline
