// What every struct of the C interfaces begins with: a caller of another build is refused, not misread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

extern "C"
{
    //! Which C interface the caller was written for.
    struct MasklineHead
    {
        std::int32_t interface; //!< maskline::kINTERFACE
        std::int32_t bytes;     //!< of the whole struct
    };
}

namespace maskline
{

//! The day on which a struct or a function of the C interfaces last changed. Structs of before had no head; as a
//! number of images or levels, with which they began, a day is too much.
constexpr std::int32_t kINTERFACE = 20261128;

//! A zeroed struct of the C interfaces with its head filled in.
template <typename Config>
Config makeConfig()
{
    Config config{};
    config.head = {kINTERFACE, static_cast<std::int32_t>(sizeof(Config))};
    return config;
}

//! "" or what is wrong with the head of a struct of `bytes`.
inline std::string checkHead(MasklineHead const& head, std::size_t bytes)
{
    if (head.interface == kINTERFACE && head.bytes == static_cast<std::int32_t>(bytes))
    {
        return "";
    }
    return "config: got interface " + std::to_string(head.interface) + " and " + std::to_string(head.bytes)
        + " bytes, expected " + std::to_string(kINTERFACE) + " and " + std::to_string(bytes)
        + "; the caller is of another build than this library: update both";
}

} // namespace maskline
