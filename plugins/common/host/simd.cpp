#include "common/host/simd.h"

#include "common/export.h"

#include <algorithm>
#include <atomic>

namespace maskline
{
namespace
{

Simd detect() noexcept
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl"))
    {
        return Simd::kAVX512;
    }
#endif
    return Simd::kGENERIC;
}

std::atomic<Simd> gMost{Simd::kAVX512};

} // namespace

Simd simd() noexcept
{
    static Simd const found = detect();
    return std::min(found, gMost.load(std::memory_order_relaxed));
}

void limitSimd(Simd most) noexcept
{
    gMost.store(most, std::memory_order_relaxed);
}

} // namespace maskline

//! Limits the vector instructions used from now on (0 generic, 1 AVX-512) and returns what is used then.
MASKLINE_API int maskline_host_limit_simd(int most)
{
    maskline::limitSimd(most <= 0 ? maskline::Simd::kGENERIC : maskline::Simd::kAVX512);
    return static_cast<int>(maskline::simd());
}
