// One run of an op, whoever asked for it.
#pragma once

#include "node/signature.h"

#include <cstddef>
#include <vector>

namespace maskline
{

//! The types that a tensor of kREAL or kFEATURES may have.
enum class RealType
{
    kFLOAT32,
    kFLOAT16,
    kBFLOAT16,
};

//! Shapes and arrays of one run.
struct Call
{
    std::vector<Shape> shapes; //!< of the inputs; they have passed the signature
    RealType type;             //!< of the features; of the first input where there are none
    bool packed;               //!< channels of the features packed by eight
    void const* const* inputs; //!< contiguous, row-major
    void* const* outputs;      //!< the same

    template <typename T>
    T const* input(std::size_t i) const
    {
        return static_cast<T const*>(inputs[i]);
    }

    template <typename T>
    T* output(std::size_t i) const
    {
        return static_cast<T*>(outputs[i]);
    }
};

} // namespace maskline
