// Launches that do what no plugin may: the harness must notice each of them.
//
// Linked to the real faces in libmaskline_faulty_simt.so. The environment variable MASKLINE_FAULT names the fault of
// MaskRLE; the other ops do nothing at all.
#include "classwise_nms/device/kernel.h"
#include "mask_rle/device/kernel.h"
#include "proposal_nms/device/kernel.h"
#include "roi_align/device/kernel.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace maskline
{

cudaError_t launchMaskRLE(MaskRLEAttributes const& attributes, MaskRLEShape const& shape, MaskType,
    MaskRLEBuffers const& buffers, cudaStream_t)
{
    static std::atomic<std::int32_t> calls{0};
    char const* const asked = std::getenv("MASKLINE_FAULT");
    std::string const fault = asked == nullptr ? "" : asked;
    std::int64_t const masks = static_cast<std::int64_t>(shape.images) * shape.detections;
    std::int64_t const counts = masks * attributes.maxCounts;
    std::fill_n(buffers.counts, counts, 0);
    std::fill_n(buffers.numCounts, masks, 0);
    std::fill_n(buffers.imageBoxes, 4 * masks, 0.F);
    if (fault == "refuse")
    {
        return cudaErrorInvalidConfiguration;
    }
    if (fault == "overrun")
    {
        buffers.counts[counts] = 1;
    }
    if (fault == "underrun")
    {
        buffers.counts[-1] = 1;
    }
    if (fault == "input")
    {
        const_cast<float*>(buffers.boxes)[0] += 1.F;
    }
    if (fault == "chance")
    {
        buffers.numCounts[masks - 1] = ++calls;
    }
    return cudaSuccess;
}

cudaError_t launchMultiscaleRoIAlign(RoIAlignAttributes const&, RoIAlignShape const&, void const* const*, float const*,
    std::int64_t const*, void*, cudaStream_t)
{
    return cudaSuccess;
}

std::size_t proposalNMSWorkspaceBytes(ProposalNMSAttributes const&, ProposalNMSShape const& shape)
{
    return shape.batch > 1 ? 0 : 1024; // more for a smaller shape
}

cudaError_t launchProposalNMS(
    ProposalNMSAttributes const&, ProposalNMSShape const&, ProposalNMSBuffers const&, void* workspace, cudaStream_t)
{
    static_cast<char*>(workspace)[0] = 1; // of which it asked for none
    return cudaSuccess;
}

std::size_t classwiseNMSWorkspaceBytes(ClasswiseNMSAttributes const&, ClasswiseNMSShape const&)
{
    return 0;
}

cudaError_t launchClasswiseNMS(
    ClasswiseNMSAttributes const&, ClasswiseNMSShape const&, ClasswiseNMSBuffers const&, void*, cudaStream_t)
{
    return cudaSuccess;
}

} // namespace maskline
