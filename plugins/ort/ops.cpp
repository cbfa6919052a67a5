// The ops of libmaskline_ort.so: on the host, and on a GPU where the build has CUDA.
#include "ort/ops.h"

#include "classwise_nms/on_host.h"
#include "mask_rle/on_host.h"
#include "ort/on_cpu.h"
#include "ort/op.h"
#include "proposal_nms/on_host.h"
#include "roi_align/on_host.h"

#if MASKLINE_ORT_CUDA
#include "classwise_nms/on_device.h"
#include "mask_rle/on_device.h"
#include "ort/on_cuda.h"
#include "proposal_nms/on_device.h"
#include "roi_align/on_device.h"
#endif

namespace maskline
{

std::vector<OrtCustomOp const*> allCustomOps()
{
    auto found = customOps<OnCpu, RoIAlignOnHost, ProposalNMSOnHost, ClasswiseNMSOnHost, MaskRLEOnHost>();
#if MASKLINE_ORT_CUDA
    auto const device
        = customOps<OnCuda, RoIAlignOnDevice, ProposalNMSOnDevice, ClasswiseNMSOnDevice, MaskRLEOnDevice>();
    found.insert(found.end(), device.begin(), device.end());
#endif
    return found;
}

} // namespace maskline
