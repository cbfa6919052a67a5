// Greedy NMS and sorting on the host, shared by ProposalNMS and ClasswiseNMS.
#pragma once

#include "common/box_math.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace maskline
{

//! Boxes with one array a coordinate. Arrays are padded to whole vectors, so that 16 can be read or written at any i.
class BoxColumns
{
public:
    static constexpr std::size_t kVECTOR{16};

    //! Makes room for `count` boxes; what was there is lost.
    void resize(std::size_t count)
    {
        mPitch = (count + kVECTOR - 1) / kVECTOR * kVECTOR + kVECTOR;
        mValues.resize(5 * mPitch);
    }

    float* x0()
    {
        return mValues.data();
    }
    float* y0()
    {
        return mValues.data() + mPitch;
    }
    float* x1()
    {
        return mValues.data() + 2 * mPitch;
    }
    float* y1()
    {
        return mValues.data() + 3 * mPitch;
    }
    float* area()
    {
        return mValues.data() + 4 * mPitch;
    }

    Box box(std::size_t i) const
    {
        float const* const first = mValues.data() + i;
        return {first[0], first[mPitch], first[2 * mPitch], first[3 * mPitch]};
    }

    //! Sets box i and its area.
    void set(std::size_t i, Box const& box)
    {
        float* const first = mValues.data() + i;
        first[0] = box.x0;
        first[mPitch] = box.y0;
        first[2 * mPitch] = box.x1;
        first[3 * mPitch] = box.y1;
        first[4 * mPitch] = areaOf(box);
    }

private:
    std::size_t mPitch{0};
    std::vector<float> mValues;
};

//! Greedy NMS of boxes that are sorted best first and all take part.
//!
//! @param boxes the first `count` of them.
//! @param limit stop when so many are kept.
//! @param scratch of any content; grown as needed.
//! @param kept out: indices of the kept ones, ascending.
void greedyNms(BoxColumns& boxes, std::size_t count, float thresh, std::size_t limit, BoxColumns& scratch,
    std::vector<std::uint32_t>& kept);

//! Sorts candidates ascending, best first, by radix; faster than std::sort from some hundred on.
//!
//! @param scratch of any content; grown as needed.
void sortCandidates(std::vector<std::uint64_t>& candidates, std::vector<std::uint64_t>& scratch);

//! The AVX-512 part of greedyNms; returns how many are kept. `kept` has room for `limit`, columns for padded vectors.
std::size_t greedyNmsAvx512(float const* const* boxes, std::size_t count, float thresh, std::size_t limit,
    float* const* keptBoxes, std::uint32_t* kept);

} // namespace maskline
