// What decides a MaskRLE besides its inputs.
#pragma once

#include <cstdint>
#include <string>

namespace maskline
{

//! Attributes of MaskRLE; see README.md.
struct MaskRLEAttributes
{
    //! The largest capacity: 4 MiB a mask.
    static constexpr std::int32_t kMAX_COUNTS{1 << 20};

    //! Capacity of one mask in run lengths. An object without holes needs two a column and one more.
    std::int32_t maxCounts{4096};

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

} // namespace maskline
