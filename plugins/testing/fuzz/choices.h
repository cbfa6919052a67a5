// What the bytes of the fuzzer choose: sizes and values as a caller that lies would give them.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace maskline::fuzz
{

//! A number that a rule is about: mostly `low`..`high`, sometimes far outside.
inline std::int32_t number(FuzzedDataProvider& choices, std::int32_t low, std::int32_t high)
{
    constexpr std::int32_t kODD[] = {0, -1, 1, 7, 64, 65, 1 << 16, 1 << 20, INT32_MAX, INT32_MAX / 4, INT32_MIN};
    return choices.ConsumeIntegralInRange<int>(0, 15) == 1 ? choices.PickValueInArray(kODD)
                                                           : choices.ConsumeIntegralInRange(low, high);
}

//! A float, whatever it is: mostly moderate.
inline float value(FuzzedDataProvider& choices)
{
    constexpr float kODD[] = {0.F, -0.F, 0.5F, 1.F, -1.F, 1e-45F, 1e9F, -1e9F, 3e38F, -3e38F, INFINITY, -INFINITY, NAN};
    return choices.ConsumeIntegralInRange<int>(0, 3) == 1
        ? choices.PickValueInArray(kODD)
        : static_cast<float>(choices.ConsumeIntegralInRange(-512, 4096)) / 8.F;
}

//! An array of exactly so many elements on the heap, so that a step beyond it is seen. The first are chosen one by one,
//! as long as there are bytes; they repeat.
inline std::unique_ptr<float[]> values(FuzzedDataProvider& choices, std::size_t count)
{
    auto made = std::make_unique<float[]>(count);
    std::size_t const chosen = std::min<std::size_t>(count, choices.ConsumeIntegralInRange<std::size_t>(0, 48));
    for (std::size_t i = 0; i < count; ++i)
    {
        made[i] = i < chosen ? value(choices) : chosen == 0 ? 0.25F : made[i % chosen];
    }
    return made;
}

//! What a call may need in all: more is no size to try, and is refused here, not by the op.
constexpr std::int64_t kMOST_ELEMENTS = 1 << 18;

//! Whether arrays of the product of these lengths can be made; none is negative.
inline bool isSmall(std::initializer_list<std::int64_t> lengths)
{
    std::int64_t product = 1;
    for (std::int64_t const length : lengths)
    {
        if (length < 0 || length > kMOST_ELEMENTS)
        {
            return false;
        }
        product *= length;
        if (product > kMOST_ELEMENTS)
        {
            return false;
        }
    }
    return true;
}

//! Ends the process, which the fuzzer notices, unless what an oracle says holds.
inline void require(bool holds, char const* rule)
{
    if (!holds)
    {
        std::fprintf(stderr, "== ERROR: libFuzzer: oracle: %s\n", rule);
        std::abort();
    }
}

} // namespace maskline::fuzz
