// One run of an op on a GPU: its arrays lie there.
#pragma once

#include "node/call.h"

#include <cuda_runtime_api.h>

namespace maskline
{

struct DeviceCall : Call
{
    void* workspace; //!< as many bytes as the op asked for; aligned to 256
    cudaStream_t stream;
};

} // namespace maskline
