// Which vector instructions the host implementations may use, asked of the processor once.
#pragma once

namespace maskline
{

enum class Simd : int
{
    kGENERIC = 0, //!< what the compiler's baseline gives
    kAVX512 = 1,  //!< F, BW, DQ and VL: files named *_avx512.cpp
};

//! The best this processor has, or what `limitSimd` allows.
Simd simd() noexcept;

//! Never use more than `most` from now on: tests and benchmarks compare the paths.
void limitSimd(Simd most) noexcept;

} // namespace maskline

//! The one of two functions of one type, NAMEAvx512 and NAMEGeneric, that is to be used: the only way paths are chosen.
#if defined(__x86_64__)
#define MASKLINE_FASTEST(NAME) (::maskline::simd() == ::maskline::Simd::kAVX512 ? NAME##Avx512 : NAME##Generic)
#else
#define MASKLINE_FASTEST(NAME) (NAME##Generic)
#endif
