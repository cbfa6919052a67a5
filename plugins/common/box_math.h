// Box arithmetic of ProposalNMS and ClasswiseNMS, in float32, for host, CUDA and the emulator.
//
// Every path (scalar, AVX-512 of box_math_avx512.h, kernel) computes these very expressions with one rounding an
// operation, so all of them keep the same boxes, bit for bit. That asks for no contraction to fused multiply-adds:
// -ffp-contract=off for g++, -fmad=false for nvcc.
#pragma once

#include "common/host_device.h"

#include <cstdint>

namespace maskline
{

//! xyxy, px; width = x1 - x0.
struct alignas(16) Box
{
    float x0;
    float y0;
    float x1;
    float y1;
};

//! dx dy dw dh, after the division by their weights.
struct BoxDelta
{
    float dx;
    float dy;
    float dw;
    float dh;
};

//! dw and dh above log(1000 / 16) are cut: a box grows from 16 px to at most 1000 px. Ref: torchvision, detectron2.
constexpr float kDELTA_SIZE_CLAMP = 4.135166556742356F;

constexpr float kEXP_LOWEST = -104.F;           //!< exp of it and of all below is 0 in float32
constexpr float kEXP_LOG2E = 1.44269504088896F; //!< 1 / ln 2
constexpr float kEXP_ROUND = 12582912.F;        //!< 1.5 * 2^23: adding it rounds to a whole number, half to even
constexpr float kEXP_LN2_HIGH = 0.693359375F;   //!< 355 / 512, so that its product with a small whole number is exact
constexpr float kEXP_LN2_LOW = -2.12194440e-4F; //!< ln 2 less the above
constexpr float kEXP_P5 = 1.9875691500e-4F;     //!< minimax polynomial of exp on +-ln 2 / 2. Ref: Cephes, expf
constexpr float kEXP_P4 = 1.3981999507e-3F;
constexpr float kEXP_P3 = 8.3334519073e-3F;
constexpr float kEXP_P2 = 4.1665795894e-2F;
constexpr float kEXP_P1 = 1.6666665459e-1F;
constexpr float kEXP_P0 = 5.0000001201e-1F;

//! e^x for x up to 88, within 1.5 units in the last place; the C library's would differ from machine to machine.
//!
//! NaN stays NaN.
MASKLINE_HD float expFloat(float x)
{
    x = greatest(x, kEXP_LOWEST);
    float const shifted = x * kEXP_LOG2E + kEXP_ROUND;
    float const whole = shifted - kEXP_ROUND;
    float const r = (x - whole * kEXP_LN2_HIGH) - whole * kEXP_LN2_LOW;
    float p = kEXP_P5;
    p = p * r + kEXP_P4;
    p = p * r + kEXP_P3;
    p = p * r + kEXP_P2;
    p = p * r + kEXP_P1;
    p = p * r + kEXP_P0;
    p = (p * (r * r) + r) + 1.F;
    // 2^whole in two factors, since below 2^-126 one would not be a normal number.
    auto const power
        = static_cast<std::int32_t>(sameBits<std::uint32_t>(shifted) - sameBits<std::uint32_t>(kEXP_ROUND));
    std::int32_t const half = power >> 1;
    float const first = sameBits<float>(static_cast<std::uint32_t>(half + 127) << 23);
    float const second = sameBits<float>(static_cast<std::uint32_t>(power - half + 127) << 23);
    return (p * first) * second;
}

//! One axis of a decoded box, cut to 0..limit. NaN stays NaN.
MASKLINE_HD void decodeAxis(float low, float high, float shift, float logScale, float limit, float& from, float& to)
{
    float const side = high - low;
    float const centre = (low + 0.5F * side) + shift * side;
    float const half = (0.5F * side) * expFloat(least(logScale, kDELTA_SIZE_CLAMP));
    from = least(greatest(centre - half, 0.F), limit);
    to = least(greatest(centre + half, 0.F), limit);
}

//! The box that a delta makes of an anchor or proposal, clipped to the resized image.
MASKLINE_HD Box decodeBox(Box const& anchor, BoxDelta const& delta, float height, float width)
{
    Box box{};
    decodeAxis(anchor.x0, anchor.x1, delta.dx, delta.dw, width, box.x0, box.x1);
    decodeAxis(anchor.y0, anchor.y1, delta.dy, delta.dh, height, box.y0, box.y1);
    return box;
}

//! Whether a clipped box takes part: both sides are at least `minSide`, and nothing is NaN.
MASKLINE_HD bool isLargeEnough(Box const& box, float minSide, float height, float width)
{
    // The second half is false only where the image size is NaN.
    return box.x1 - box.x0 >= minSide && box.y1 - box.y0 >= minSide && box.x1 <= width && box.y1 <= height;
}

MASKLINE_HD float areaOf(Box const& box)
{
    return (box.x1 - box.x0) * (box.y1 - box.y0);
}

//! Whether the IoU of two boxes that take part is above the threshold; false for two boxes of area zero.
MASKLINE_HD bool overlaps(Box const& a, float areaA, Box const& b, float areaB, float thresh)
{
    float const width = greatest(least(a.x1, b.x1) - greatest(a.x0, b.x0), 0.F);
    float const height = greatest(least(a.y1, b.y1) - greatest(a.y0, b.y0), 0.F);
    float const intersection = width * height;
    return intersection > thresh * ((areaA + areaB) - intersection);
}

//! The key of NaN, which is never chosen.
constexpr std::uint32_t kNAN_KEY = 0xffffffffU;

//! A whole number that is lower for a higher value, the same for +0 and -0.
MASKLINE_HD std::uint32_t bestFirstKey(float value)
{
    std::uint32_t bits = sameBits<std::uint32_t>(value);
    if ((bits & 0x7fffffffU) > 0x7f800000U)
    {
        return kNAN_KEY;
    }
    bits = bits == 0x80000000U ? 0U : bits;
    return (bits & 0x80000000U) != 0 ? bits : bits ^ 0x7fffffffU;
}

//! The value of a key, but for the sign of zero.
MASKLINE_HD float valueOfKey(std::uint32_t key)
{
    return sameBits<float>((key & 0x80000000U) != 0 ? key : key ^ 0x7fffffffU);
}

//! A key and what breaks ties: lower is better, and no two candidates of an image are equal.
MASKLINE_HD std::uint64_t candidateOf(std::uint32_t key, std::uint32_t index)
{
    return static_cast<std::uint64_t>(key) << 32 | index;
}

} // namespace maskline
