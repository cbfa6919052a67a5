// Feature elements on a host without instructions for them: how each type becomes a float32 and is made of one.
#pragma once

#include "common/host_device.h"

#include <cstdint>

namespace maskline
{

struct Float32Element
{
    using Raw = float;

    static float load(Raw raw)
    {
        return raw;
    }

    static Raw store(float value)
    {
        return value;
    }
};

//! IEEE 754 binary16, rounded to nearest, ties to even.
struct HalfElement
{
    using Raw = std::uint16_t;

    static float load(Raw raw)
    {
        std::uint32_t const magnitude = (raw & 0x7fffU) << 13;
        // The exponent's bias is 112 less in a half; a product makes subnormal numbers normal ones.
        float const value = sameBits<float>(magnitude) * 0x1p112F;
        std::uint32_t const special = magnitude >= 0x0f800000U ? 0x7f800000U : 0U; // infinity, NaN
        std::uint32_t const sign = (raw & 0x8000U) << 16;
        return sameBits<float>(sameBits<std::uint32_t>(value) | special | sign);
    }

    static Raw store(float value)
    {
        std::uint32_t const bits = sameBits<std::uint32_t>(value);
        std::uint32_t const sign = (bits >> 16) & 0x8000U;
        std::uint32_t const magnitude = bits & 0x7fffffffU;
        if (magnitude >= 0x47800000U) // 65536 and more, NaN
        {
            return static_cast<Raw>(sign | (magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U));
        }
        if (magnitude < 0x38800000U) // below 2^-14: the sum with 0.5 rounds to the units of a subnormal half
        {
            return static_cast<Raw>(sign | (sameBits<std::uint32_t>(sameBits<float>(magnitude) + 0.5F) - 0x3f000000U));
        }
        std::uint32_t const odd = (magnitude >> 13) & 1U;
        return static_cast<Raw>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13));
    }
};

//! The upper half of a float32, rounded to nearest, ties to even.
struct BFloat16Element
{
    using Raw = std::uint16_t;

    static float load(Raw raw)
    {
        return sameBits<float>(static_cast<std::uint32_t>(raw) << 16);
    }

    static Raw store(float value)
    {
        std::uint32_t const bits = sameBits<std::uint32_t>(value);
        if ((bits & 0x7fffffffU) > 0x7f800000U)
        {
            return static_cast<Raw>((bits >> 16) | 0x40U); // a NaN stays one
        }
        return static_cast<Raw>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
    }
};

} // namespace maskline
