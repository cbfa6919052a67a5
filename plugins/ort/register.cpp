// The one function that ONNX Runtime looks for in a library of custom ops.

#include "common/export.h"
#include "ort/guarded.h"
#include "ort/ops.h"

#include <cstdio>

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
        char text[96]; // nothing that may throw before there is an interface to say so
        std::snprintf(
            text, sizeof(text), "maskline: got ONNX Runtime %s, expected 1.18 or later", base->GetVersionString());
        return base->GetApi(1)->CreateStatus(ORT_FAIL, text); // which every version has
    }
    Ort::InitApi(api);
    return maskline::guarded("maskline", [&] { Ort::ThrowOnError(api->AddCustomOpDomain(options, domainOfOps())); });
}
