// Fetches what the next program reads, a little at a time. Only for files compiled with AVX-512.
#pragma once

#include "roi_align/host/program.h"

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace maskline
{
namespace
{

//! Walks over the cache lines of a RoIAlignAhead: one line of all its planes, then the next.
//!
//! It fetches into the second-level cache. The first-level cache waits for some twenty lines at a time, and the sums
//! need these places for themselves; the second-level cache waits for more than twice as many. What finds no place
//! there is not fetched at all, so the lines are spread evenly over the work.
class Fetcher
{
public:
    //! @param steps into which the work is cut.
    Fetcher(RoIAlignAhead const& ahead, std::int64_t steps)
        : mAhead(ahead)
        , mSteps(steps)
    {
        open();
    }

    //! Fetches what falls to so many steps.
    void fetch(std::int32_t steps)
    {
        for (mCredit += steps * mAhead.lines; mCredit >= mSteps && mLeft > 0; mCredit -= mSteps)
        {
            for (std::int32_t c = 0; c < mAhead.numChannels; ++c)
            {
                _mm_prefetch(mAt + c * mPlane, _MM_HINT_T1);
            }
            mAt += kROI_ALIGN_LINE;
            if (--mLeft == 0)
            {
                open();
            }
        }
    }

private:
    void open()
    {
        if (mNext < mAhead.count)
        {
            RoIAlignStretch const& stretch = mAhead.stretches[mNext++];
            RoIAlignPlanes const& planes = mAhead.levels[stretch.level];
            mPlane = planes.bytes;
            mAt = planes.first + mAhead.firstChannel * mPlane + std::int64_t{stretch.first} * kROI_ALIGN_LINE;
            mLeft = stretch.lines;
        }
    }

    RoIAlignAhead mAhead;
    std::int64_t mSteps;
    std::int64_t mCredit{0};  //!< lines times steps
    std::size_t mNext{0};     //!< stretch
    std::int32_t mLeft{0};    //!< lines of the present one
    std::int64_t mPlane{0};   //!< bytes
    char const* mAt{nullptr}; //!< in the first of the planes
};

} // namespace
} // namespace maskline
