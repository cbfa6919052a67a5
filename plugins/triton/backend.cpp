// The functions that Triton looks for in `libtriton_onnxruntime.so`.

#include "common/export.h"
#include "triton/api.h"
#include "triton/engine.h"
#include "triton/execute.h"
#include "triton/guarded.h"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace maskline::triton;

namespace
{

constexpr char kLOGGED_AS[] = "onnxruntime_backend.cpp"; // what maskline-serve looks for in the log

//! The backend's own state: ONNX Runtime's environment, and where our custom ops are.
struct Backend
{
    Ort::Env environment;
    std::string customOps;
};

//! A model's state.
struct Model
{
    std::string name;
    Engine engine;
    std::unique_ptr<Sender> sender; //!< Of a model with limits of its queue.
};

Json jsonOf(TRITONSERVER_Message* message)
{
    char const* text = nullptr;
    std::size_t bytes = 0;
    check(TRITONSERVER_MessageSerializeToJson(message, &text, &bytes));
    return Json::parse({text, bytes});
}

void checkInterface()
{
    std::uint32_t major = 0, minor = 0;
    check(TRITONBACKEND_ApiVersion(&major, &minor));
    if (major != kINTERFACE)
    {
        throw std::runtime_error("got Triton's backend interface " + std::to_string(major) + ", expected "
            + std::to_string(kINTERFACE) + "; take a release of maskline for this server");
    }
}

//! ONNX Runtime's library as the command line names it; the loader's own choice otherwise.
std::string libraryOf(TRITONBACKEND_Backend* backend)
{
    TRITONSERVER_Message* message = nullptr;
    check(TRITONBACKEND_BackendConfig(backend, &message)); // Triton's own: not deleted
    std::string const named = jsonOf(message)["cmdline"]["library"].text();
    return named.empty() ? "libonnxruntime.so" : named;
}

Json configOf(TRITONBACKEND_Model* model)
{
    TRITONSERVER_Message* message = nullptr;
    check(TRITONBACKEND_ModelConfig(model, 1, &message));
    struct Deleted
    {
        TRITONSERVER_Message* message;
        ~Deleted()
        {
            ignore(TRITONSERVER_MessageDelete(message));
        }
    } const deleted{message};
    return jsonOf(message);
}

Backend& backendOf(TRITONBACKEND_Model* model)
{
    TRITONBACKEND_Backend* backend = nullptr;
    void* state = nullptr;
    check(TRITONBACKEND_ModelBackend(model, &backend));
    check(TRITONBACKEND_BackendState(backend, &state));
    return *static_cast<Backend*>(state);
}

std::unique_ptr<Model> load(TRITONBACKEND_Model* model, std::string const& name)
{
    char const* folder = nullptr;
    int kind = 0;
    std::uint64_t version = 0;
    check(TRITONBACKEND_ModelRepository(model, &kind, &folder));
    check(TRITONBACKEND_ModelVersion(model, &version));
    Backend const& backend = backendOf(model);
    auto const say = [&](std::string const& line) {
        ignore(TRITONSERVER_LogMessage(kLOG_INFO, kLOGGED_AS, __LINE__, (name + ": " + line).c_str()));
    };
    std::string const versioned = std::string(folder) + "/" + std::to_string(version);
    ModelConfig const config = readConfig(configOf(model));
    auto sender = config.queueLimits ? std::make_unique<Sender>() : nullptr;
    return std::unique_ptr<Model>(
        new Model{name, Engine(backend.environment, versioned, config, backend.customOps, say), std::move(sender)});
}

Model& modelOf(TRITONBACKEND_ModelInstance* instance)
{
    TRITONBACKEND_Model* model = nullptr;
    void* state = nullptr;
    check(TRITONBACKEND_ModelInstanceModel(instance, &model));
    check(TRITONBACKEND_ModelState(model, &state));
    return *static_cast<Model*>(state);
}

} // namespace

//! Loads ONNX Runtime, once a server.
MASKLINE_API TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend)
{
    return guarded([&] {
        checkInterface();
        openOnnxRuntime(libraryOf(backend));
        char const* folder = nullptr;
        int kind = 0;
        check(TRITONBACKEND_BackendArtifacts(backend, &kind, &folder));
        auto state = std::unique_ptr<Backend>(
            new Backend{Ort::Env(ORT_LOGGING_LEVEL_WARNING, "maskline"), std::string(folder) + "/libmaskline_ort.so"});
        check(TRITONBACKEND_BackendSetState(backend, state.get()));
        state.release();
    });
}

MASKLINE_API TRITONSERVER_Error* TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend)
{
    return guarded([&] {
        void* state = nullptr;
        check(TRITONBACKEND_BackendState(backend, &state));
        delete static_cast<Backend*>(state);
    });
}

//! Loads a model; its instances share the session, so the weights are in memory once.
MASKLINE_API TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model)
{
    return guarded([&] {
        char const* name = nullptr;
        check(TRITONBACKEND_ModelName(model, &name));
        try
        {
            std::unique_ptr<Model> state = load(model, name);
            check(TRITONBACKEND_ModelSetState(model, state.get()));
            state.release();
        }
        catch (std::exception const& error)
        {
            throw std::runtime_error(std::string(name) + ": " + error.what());
        }
    });
}

MASKLINE_API TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model)
{
    return guarded([&] {
        void* state = nullptr;
        check(TRITONBACKEND_ModelState(model, &state));
        delete static_cast<Model*>(state);
    });
}

MASKLINE_API TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, std::uint32_t const count)
{
    return guarded([&] {
        Model const& model = modelOf(instance);
        execute(instance, model.name, model.engine, model.sender.get(),
            std::vector<TRITONBACKEND_Request*>(requests, requests + count));
    });
}
