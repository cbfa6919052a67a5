// What decides a ClasswiseNMS besides the numbers in its inputs: attributes, and the sizes of one call.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

namespace maskline
{

//! Attributes of ClasswiseNMS; see README.md.
struct ClasswiseNMSAttributes
{
    std::int32_t numClasses{80};     //!< K, foreground only
    float scoreThresh{0.05F};        //!< a candidate's score is above it
    float nmsThresh{0.5F};           //!< a box whose IoU with a better kept one of its class is larger is dropped
    std::int32_t maxDetections{100}; //!< D
    std::array<float, 4> deltaWeights{{10.F, 10.F, 5.F, 5.F}}; //!< what dx dy dw dh are divided by
    float minSide{0.F};                                        //!< px, after the clip

    //! @return "" or the rule that is broken, with what was got and what is expected.
    std::string check() const
    {
        if (numClasses < 1 || numClasses >= INT32_MAX / 4)
        {
            return "num_classes: got " + std::to_string(numClasses) + ", expected 1..536870910";
        }
        if (!(scoreThresh >= 0.F && scoreThresh <= 1.F))
        {
            return "score_thresh: got " + std::to_string(scoreThresh) + ", expected 0..1";
        }
        if (!(nmsThresh >= 0.F && nmsThresh <= 1.F))
        {
            return "nms_thresh: got " + std::to_string(nmsThresh) + ", expected 0..1";
        }
        if (maxDetections < 1)
        {
            return "max_detections: got " + std::to_string(maxDetections) + ", expected at least 1";
        }
        for (auto const weight : deltaWeights)
        {
            if (!(weight > 0.F && std::isfinite(weight)))
            {
                return "delta_weights: got " + std::to_string(weight) + ", expected four finite numbers above 0";
            }
        }
        if (!(minSide >= 0.F && std::isfinite(minSide)))
        {
            return "min_side: got " + std::to_string(minSide) + ", expected a finite number, 0 or more";
        }
        return "";
    }
};

//! Sizes of one call.
struct ClasswiseNMSShape
{
    std::int32_t batch{0};     //!< B
    std::int32_t proposals{0}; //!< R, rows an image

    //! @return "" or the rule that is broken, with what was got and what is expected. B and R may be 0.
    std::string check(ClasswiseNMSAttributes const& attributes) const
    {
        std::int64_t const classes = static_cast<std::int64_t>(attributes.numClasses) + 1;
        if (batch < 0 || proposals < 0)
        {
            return "proposals: got " + std::to_string(batch) + " x " + std::to_string(proposals)
                + ", expected 0 or more";
        }
        std::int64_t const limit = INT32_MAX / 2; // leaves room to round up to a power of two
        if (proposals * classes > limit || batch * classes > limit
            || static_cast<std::int64_t>(batch) * proposals > limit)
        {
            return "proposals: got " + std::to_string(batch) + " images of " + std::to_string(proposals) + " rows and "
                + std::to_string(attributes.numClasses)
                + " classes, expected no product of two of them above 1073741823";
        }
        return "";
    }
};

} // namespace maskline
