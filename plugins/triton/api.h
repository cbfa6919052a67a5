// What we call of Triton's backend interface, and what it calls of ours. Triton ships no headers where ONNX Runtime's
// wheel and its server's wheel are installed, and the interface is one of C: names, order and types are all of it.
// The functions are resolved when tritonserver opens the library, from the server itself.
//
// Ref: https://github.com/triton-inference-server/backend, "Triton Backend API"; interface 1, of every release since
// 2020.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C"
{

    struct TRITONSERVER_Error;
    struct TRITONSERVER_Message;
    struct TRITONBACKEND_Backend;
    struct TRITONBACKEND_Input;
    struct TRITONBACKEND_Model;
    struct TRITONBACKEND_ModelInstance;
    struct TRITONBACKEND_Output;
    struct TRITONBACKEND_Request;
    struct TRITONBACKEND_Response;

    TRITONSERVER_Error* TRITONSERVER_ErrorNew(int code, char const* text);
    void TRITONSERVER_ErrorDelete(TRITONSERVER_Error* error);
    char const* TRITONSERVER_ErrorMessage(TRITONSERVER_Error* error);
    TRITONSERVER_Error* TRITONSERVER_LogMessage(int level, char const* file, int line, char const* text);
    TRITONSERVER_Error* TRITONSERVER_MessageSerializeToJson(
        TRITONSERVER_Message* message, char const** text, std::size_t* bytes);
    TRITONSERVER_Error* TRITONSERVER_MessageDelete(TRITONSERVER_Message* message);

    TRITONSERVER_Error* TRITONBACKEND_ApiVersion(std::uint32_t* major, std::uint32_t* minor);
    TRITONSERVER_Error* TRITONBACKEND_BackendConfig(TRITONBACKEND_Backend* backend, TRITONSERVER_Message** config);
    TRITONSERVER_Error* TRITONBACKEND_BackendArtifacts(TRITONBACKEND_Backend* backend, int* kind, char const** folder);
    TRITONSERVER_Error* TRITONBACKEND_BackendState(TRITONBACKEND_Backend* backend, void** state);
    TRITONSERVER_Error* TRITONBACKEND_BackendSetState(TRITONBACKEND_Backend* backend, void* state);

    TRITONSERVER_Error* TRITONBACKEND_ModelName(TRITONBACKEND_Model* model, char const** name);
    TRITONSERVER_Error* TRITONBACKEND_ModelVersion(TRITONBACKEND_Model* model, std::uint64_t* version);
    TRITONSERVER_Error* TRITONBACKEND_ModelRepository(TRITONBACKEND_Model* model, int* kind, char const** folder);
    TRITONSERVER_Error* TRITONBACKEND_ModelConfig(
        TRITONBACKEND_Model* model, std::uint32_t version, TRITONSERVER_Message** config);
    TRITONSERVER_Error* TRITONBACKEND_ModelBackend(TRITONBACKEND_Model* model, TRITONBACKEND_Backend** backend);
    TRITONSERVER_Error* TRITONBACKEND_ModelState(TRITONBACKEND_Model* model, void** state);
    TRITONSERVER_Error* TRITONBACKEND_ModelSetState(TRITONBACKEND_Model* model, void* state);

    TRITONSERVER_Error* TRITONBACKEND_ModelInstanceModel(
        TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Model** model);
    TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance* instance,
        TRITONBACKEND_Request* request, bool success, std::uint64_t start, std::uint64_t computeStart,
        std::uint64_t computeEnd, std::uint64_t end);
    TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(TRITONBACKEND_ModelInstance* instance,
        std::uint64_t batch, std::uint64_t start, std::uint64_t computeStart, std::uint64_t computeEnd,
        std::uint64_t end);

    TRITONSERVER_Error* TRITONBACKEND_RequestInput(
        TRITONBACKEND_Request* request, char const* name, TRITONBACKEND_Input** input);
    TRITONSERVER_Error* TRITONBACKEND_RequestOutputCount(TRITONBACKEND_Request* request, std::uint32_t* count);
    TRITONSERVER_Error* TRITONBACKEND_RequestOutputName(
        TRITONBACKEND_Request* request, std::uint32_t index, char const** name);
    TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request* request, std::uint32_t flags);

    TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input* input, char const** name, int* type,
        std::int64_t const** shape, std::uint32_t* rank, std::uint64_t* bytes, std::uint32_t* buffers);
    TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input* input, std::uint32_t index, void const** buffer,
        std::uint64_t* bytes, int* memory, std::int64_t* device);

    TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response** response, TRITONBACKEND_Request* request);
    TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response* response, TRITONBACKEND_Output** output,
        char const* name, int type, std::int64_t const* shape, std::uint32_t rank);
    TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(
        TRITONBACKEND_Output* output, void** buffer, std::uint64_t bytes, int* memory, std::int64_t* device);
    TRITONSERVER_Error* TRITONBACKEND_ResponseSend(
        TRITONBACKEND_Response* response, std::uint32_t flags, TRITONSERVER_Error* error);
}

namespace maskline::triton
{

constexpr std::uint32_t kINTERFACE = 1; //!< Major number; minor ones only add.

// Values of Triton's enumerations, as its interface numbers them.
constexpr int kERROR_INTERNAL = 1;
constexpr int kLOG_INFO = 0;
constexpr int kMEMORY_CPU = 0;
constexpr int kMEMORY_GPU = 2;
constexpr std::uint32_t kRESPONSE_FINAL = 1;
constexpr std::uint32_t kRELEASE_ALL = 1;

} // namespace maskline::triton
