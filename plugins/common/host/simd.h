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
