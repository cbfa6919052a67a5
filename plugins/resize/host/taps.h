// Where the pixels of a result lie between those of a picture, along one axis, and how OpenCV's and PyTorch's filters
// weigh them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{
namespace resize_host
{

//! For each of n pixels the two it lies between, and their weights. All arrays [n].
template <typename Weight>
struct Taps
{
    std::vector<std::int32_t> first;
    std::vector<std::int32_t> second;
    std::vector<Weight> near; //!< of `first`
    std::vector<Weight> far;  //!< of `second`

    explicit Taps(std::int32_t wanted)
        : first(static_cast<std::size_t>(wanted))
        , second(first)
        , near(first.size())
        , far(first.size())
    {}
};

//! OpenCV's: weights of 1/2048.
//!
//! @param toTheEdge beyond the outermost centres the edge's pixel has the whole weight, as along columns; along rows
//! both weights fall on it, which rounds otherwise.
Taps<std::int16_t> cv2Taps(std::int32_t length, std::int32_t wanted, bool toTheEdge);

//! PyTorch's: weights that add up to 1.
Taps<float> torchTaps(std::int32_t length, std::int32_t wanted);

} // namespace resize_host
} // namespace maskline
