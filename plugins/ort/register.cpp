// The one function that ONNX Runtime looks for in a library of custom ops.

#include "common/export.h"
#include "ort/guarded.h"
#include "ort/ops.h"

#include <string>

namespace
{

//! The domain of all ops, made once; ONNX Runtime keeps what is in it for as long as the process lives.
Ort::CustomOpDomain const& domainOfOps()
{
    static Ort::CustomOpDomain const domain = [] {
        Ort::CustomOpDomain made("maskline");
        for (OrtCustomOp const* op : maskline::allCustomOps())
        {
            made.Add(op);
        }
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
