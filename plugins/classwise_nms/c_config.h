// ClasswiseNMS as the plain C interfaces take it: attributes and sizes in one struct.
#pragma once

#include "classwise_nms/attributes.h"
#include "common/c_head.h"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C"
{
    //! Attributes and sizes of a call.
    struct MasklineClasswiseNMS
    {
        MasklineHead head;
        std::int32_t batch;         //!< B
        std::int32_t proposals;     //!< R
        std::int32_t numClasses;    //!< K
        std::int32_t maxDetections; //!< D
        float scoreThresh;
        float nmsThresh;
        float deltaWeights[4];
        float minSide; //!< px
    };
}

namespace maskline
{

//! Reads a C struct. Returns "" or the rule that is broken; then the outputs are of no use.
inline std::string read(
    MasklineClasswiseNMS const& config, ClasswiseNMSAttributes& attributes, ClasswiseNMSShape& shape)
{
    std::string const other = checkHead(config.head, sizeof(config));
    if (!other.empty())
    {
        return other;
    }
    attributes.numClasses = config.numClasses;
    attributes.scoreThresh = config.scoreThresh;
    attributes.nmsThresh = config.nmsThresh;
    attributes.maxDetections = config.maxDetections;
    for (std::size_t i = 0; i < 4; ++i)
    {
        attributes.deltaWeights[i] = config.deltaWeights[i];
    }
    attributes.minSide = config.minSide;
    shape.batch = config.batch;
    shape.proposals = config.proposals;
    std::string const text = attributes.check();
    return text.empty() ? shape.check(attributes) : text;
}

} // namespace maskline
