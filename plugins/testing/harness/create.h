// `maskline_harness create`: one plugin from fields given on the command line, and what it says to one set of shapes.
#pragma once

#include "testing/harness/played/field_set.h"

#include <string>
#include <vector>

namespace harness
{

struct CreateRequest
{
    std::string library;
    std::string op;
    FieldSet fields;
    std::string nvinfer;             //!< a libnvinfer to open first: the plugin then logs to its logger
    std::vector<std::string> inputs; //!< "float:2x5x4", "half-hwc8:2x16x8x8"
};

//! Makes the plugin, shows it the inputs, and prints its error lines to stdout.
//!
//! @return 0 when the plugin takes everything, 1 when it refuses.
int create(CreateRequest request);

} // namespace harness
