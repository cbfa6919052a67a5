#include "mask_rle/host/edges.h"

#include "common/host/simd.h"

#include <cstdint>
#include <cstring>

namespace maskline
{
namespace mask_rle
{
namespace
{
constexpr int kGROUPS = 7; // of 5 bits hold any difference of counts
constexpr std::uint64_t kMORE = 0x2020202020202020;
constexpr std::uint64_t kZEROS = 0x3030303030303030;

bool increases(std::int32_t const* edges, std::int32_t count) noexcept
{
    int broken = 0;
    for (std::int32_t i = 1; i < count; ++i)
    {
        broken |= edges[i] <= edges[i - 1] ? 1 : 0;
    }
    return broken == 0;
}

} // namespace

std::int32_t joinRuns(std::int32_t* edges, std::int32_t pending, std::int32_t count) noexcept
{
    if (increases(edges, count)) // nearly always
    {
        return count;
    }
    auto kept = pending;
    for (auto i = pending; i < count; i += 2)
    {
        auto const start = edges[i];
        auto const end = edges[i + 1];
        if (end <= start)
        {
            continue;
        }
        if (kept > 0 && edges[kept - 1] == start)
        {
            edges[kept - 1] = end;
            continue;
        }
        edges[kept++] = start;
        edges[kept++] = end;
    }
    return kept;
}

char* writeNumber(std::int64_t value, char* text) noexcept
{
    auto const bits = static_cast<std::uint64_t>(value);
    auto const magnitude = static_cast<std::uint64_t>(value ^ (value >> 63));
    int const significant = magnitude == 0 ? 0 : 64 - __builtin_clzll(magnitude);
    int const length = significant / 5 + 1; // with the sign
    std::uint64_t word = 0;
    for (int group = 0; group < kGROUPS; ++group)
    {
        word |= (bits >> (5 * group) & 31) << (8 * group);
    }
    word |= kMORE & ((std::uint64_t{1} << (8 * (length - 1))) - 1); // all but the last character
    word += kZEROS;
    std::memcpy(text, &word, sizeof(word)); // the lowest byte first, as on every processor we build for
    return text + length;
}

char* writeTextGeneric(std::int32_t const* edges, std::int32_t count, char* text) noexcept
{
    for (std::int32_t i = 0; i < count; ++i)
    {
        auto const length = static_cast<std::int64_t>(edges[i]) - edges[i - 1];
        text = writeNumber(length - (static_cast<std::int64_t>(edges[i - 2]) - edges[i - 3]), text);
    }
    return text;
}

WriteText writeText() noexcept
{
    return MASKLINE_FASTEST(writeText);
}

} // namespace mask_rle
} // namespace maskline
