// The one function that ONNX Runtime looks for in a library of custom ops.

#include "classwise_nms/ort_op.h"
#include "common/export.h"
#include "ort/op.h"
#include "proposal_nms/ort_op.h"
#include "roi_align/ort_op.h"

#include <string>

namespace
{

//! All ops, made once; ONNX Runtime keeps pointers to them for as long as the process lives.
Ort::CustomOpDomain const& domainOfOps()
{
    using namespace maskline;
    static HostOp<RoIAlignHostOp, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT> const alignFloat;
    static HostOp<RoIAlignHostOp, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16> const alignHalf;
    static HostOp<RoIAlignHostOp, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16> const alignBfloat;
    static HostOp<ProposalNMSHostOp, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT> const proposals;
    static HostOp<ClasswiseNMSHostOp, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT> const detections;
    static Ort::CustomOpDomain const domain = [] {
        Ort::CustomOpDomain made("maskline");
        made.Add(&alignFloat);
        made.Add(&alignHalf);
        made.Add(&alignBfloat);
        made.Add(&proposals);
        made.Add(&detections);
        return made;
    }();
    return domain;
}

} // namespace

//! Adds our ops to the options of a session; the text of what is wrong otherwise.
MASKLINE_API OrtStatus* RegisterCustomOps(OrtSessionOptions* options, OrtApiBase const* base)
{
    OrtApi const* const api = base->GetApi(maskline::kORT_API);
    if (api == nullptr)
    {
        std::string const text
            = std::string("maskline: got ONNX Runtime ") + base->GetVersionString() + ", expected 1.18 or later";
        OrtApi const* const oldest = base->GetApi(1);
        return oldest == nullptr ? nullptr : oldest->CreateStatus(ORT_FAIL, text.c_str());
    }
    Ort::InitApi(api);
    return maskline::guarded("maskline", [&] { Ort::ThrowOnError(api->AddCustomOpDomain(options, domainOfOps())); });
}
