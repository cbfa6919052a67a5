// Everything in our libraries is hidden but what says MASKLINE_API: a plain C function of the library's interface.
#pragma once

#define MASKLINE_API extern "C" __attribute__((visibility("default")))
