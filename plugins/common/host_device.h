// What lets one file of math compile for the host, for CUDA and for the SIMT emulator of testing/simt.
#pragma once

#if defined(__CUDACC__)
#define MASKLINE_HD __host__ __device__ __forceinline__
#else
#define MASKLINE_HD inline
#endif

#include <cstring>

namespace maskline
{

//! The same bits as another type.
template <typename To, typename From>
MASKLINE_HD To sameBits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To to;
    memcpy(static_cast<void*>(&to), &from, sizeof(to));
    return to;
}

// std::min and std::max are not device functions; these are, on every compiler.
template <typename T>
MASKLINE_HD T least(T a, T b)
{
    return b < a ? b : a;
}

template <typename T>
MASKLINE_HD T greatest(T a, T b)
{
    return a < b ? b : a;
}

//! The number of groups of `size` that hold `count` things.
template <typename T>
MASKLINE_HD T ceilDivide(T count, T size)
{
    return (count + size - 1) / size;
}

} // namespace maskline
