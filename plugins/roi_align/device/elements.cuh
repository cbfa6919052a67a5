// Features on the GPU: one element (NCHW) or a vector of 8 channels (kHWC8), as float32.
#pragma once

#include "common/device/launch.h"
#include "common/host_device.h"

#include <cstdint>

namespace maskline
{

//! 16 bytes, moved at once.
struct alignas(16) RoIAlignPack
{
    unsigned words[4];
};

__device__ inline RoIAlignPack loadPack(void const* from)
{
    uint4 const found = __ldg(static_cast<uint4 const*>(from));
    return {{found.x, found.y, found.z, found.w}};
}

__device__ inline void storePack(void* to, RoIAlignPack const& pack)
{
    *static_cast<uint4*>(to) = make_uint4(pack.words[0], pack.words[1], pack.words[2], pack.words[3]);
}

//! How a type's elements and pairs of elements become float32, and are made of it (to nearest even).
template <typename T>
struct RoIAlignElement;

template <>
struct RoIAlignElement<float>
{
    static __device__ float toFloat(float element)
    {
        return element;
    }

    static __device__ float store(float value)
    {
        return value;
    }
};

template <>
struct RoIAlignElement<__half>
{
    static __device__ float toFloat(__half element)
    {
        return __half2float(element);
    }

    static __device__ __half store(float value)
    {
        return __float2half_rn(value);
    }

    static __device__ float2 unpack(unsigned word)
    {
        return __half22float2(sameBits<__half2>(word));
    }

    static __device__ unsigned pack(float low, float high)
    {
        return sameBits<unsigned>(__floats2half2_rn(low, high));
    }
};

template <>
struct RoIAlignElement<__nv_bfloat16>
{
    static __device__ float toFloat(__nv_bfloat16 element)
    {
        return __bfloat162float(element);
    }

    static __device__ __nv_bfloat16 store(float value)
    {
        return __float2bfloat16_rn(value);
    }

    static __device__ float2 unpack(unsigned word)
    {
        return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000U));
    }

    static __device__ unsigned pack(float low, float high)
    {
        return sameBits<unsigned>(__floats2bfloat162_rn(low, high));
    }
};

//! What one thread reads of a cell and writes of a bin: `CHANNELS` channels. Loaded first, made float32 when needed.
template <typename T, int CHANNELS>
struct RoIAlignVector;

template <typename T>
struct RoIAlignVector<T, 1>
{
    __device__ void load(T const* from)
    {
        mElement = *from;
    }

    __device__ void toFloats(float (&values)[1]) const
    {
        values[0] = RoIAlignElement<T>::toFloat(mElement);
    }

    static __device__ void store(T* to, float const (&values)[1])
    {
        *to = RoIAlignElement<T>::store(values[0]);
    }

    T mElement;
};

template <typename T>
struct RoIAlignVector<T, 8>
{
    __device__ void load(T const* from)
    {
        mPack = loadPack(from);
    }

    __device__ void toFloats(float (&values)[8]) const
    {
#pragma unroll
        for (int i = 0; i < 4; ++i)
        {
            float2 const pair = RoIAlignElement<T>::unpack(mPack.words[i]);
            values[2 * i] = pair.x;
            values[2 * i + 1] = pair.y;
        }
    }

    static __device__ void store(T* to, float const (&values)[8])
    {
        RoIAlignPack pack;
#pragma unroll
        for (int i = 0; i < 4; ++i)
        {
            pack.words[i] = RoIAlignElement<T>::pack(values[2 * i], values[2 * i + 1]);
        }
        storePack(to, pack);
    }

    RoIAlignPack mPack;
};

template <>
struct RoIAlignVector<float, 8>
{
    __device__ void load(float const* from)
    {
        mPacks[0] = loadPack(from);
        mPacks[1] = loadPack(from + 4);
    }

    __device__ void toFloats(float (&values)[8]) const
    {
#pragma unroll
        for (int i = 0; i < 8; ++i)
        {
            values[i] = __uint_as_float(mPacks[i / 4].words[i % 4]);
        }
    }

    static __device__ void store(float* to, float const (&values)[8])
    {
#pragma unroll
        for (int i = 0; i < 2; ++i)
        {
            storePack(to + 4 * i,
                {{__float_as_uint(values[4 * i]), __float_as_uint(values[4 * i + 1]),
                    __float_as_uint(values[4 * i + 2]), __float_as_uint(values[4 * i + 3])}});
        }
    }

    RoIAlignPack mPacks[2];
};

} // namespace maskline
