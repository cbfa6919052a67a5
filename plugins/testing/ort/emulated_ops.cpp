// The ops of libmaskline_ort_simt.so, for tests: what runs at the CUDA provider, over the kernels of the emulator,
// which ONNX Runtime takes for ops of its CPU provider. Stream and scratch alone are not the provider's.
#include "classwise_nms/on_device.h"
#include "mask_rle/on_device.h"
#include "ort/on_cuda.h"
#include "ort/op.h"
#include "ort/ops.h"
#include "proposal_nms/on_device.h"
#include "roi_align/on_device.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace maskline
{
namespace
{

struct Emulated
{
    static constexpr char const* kPROVIDER = "CPUExecutionProvider";

    template <typename Op>
    static void run(OrtKernelContext*, typename Op::Attributes const& attributes, Call const& call)
    {
        constexpr std::size_t kALIGNMENT = 256;
        std::size_t const bytes = Op::workspaceBytes(attributes, call.shapes);
        std::vector<std::uint8_t> memory(bytes + kALIGNMENT, kRUBBISH);
        void* start = memory.data();
        std::size_t room = memory.size();
        launchOp<Op>(attributes, call, std::align(kALIGNMENT, bytes, start, room), nullptr);
    }

    static constexpr std::uint8_t kRUBBISH = 0x7F; // what a kernel does not write is no number that it may read
};

} // namespace

std::vector<OrtCustomOp const*> allCustomOps()
{
    return customOps<Emulated, RoIAlignOnDevice, ProposalNMSOnDevice, ClasswiseNMSOnDevice, MaskRLEOnDevice>();
}

} // namespace maskline
