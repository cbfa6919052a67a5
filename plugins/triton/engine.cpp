#include "triton/engine.h"

#include <dlfcn.h>
#include <onnxruntime_session_options_config_keys.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <utility>

namespace maskline::triton
{

namespace
{

bool isFile(std::string const& path)
{
    struct stat found;
    return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

GraphOptimizationLevel graphLevel(long long level)
{
    switch (level)
    {
    case -1: return ORT_ENABLE_BASIC;
    case 1: return ORT_ENABLE_EXTENDED;
    case 2: return ORT_DISABLE_ALL;
    default: return ORT_ENABLE_ALL;
    }
}

//! Adds our ops where the model has some; one line about it.
std::string registerCustomOps(Ort::SessionOptions& options, std::string const& ops, std::string const& library)
{
    std::string const slower = ops + ": run by their bodies, slower: ";
    std::string const file = library.substr(library.rfind('/') + 1);
    if (!isFile(library))
    {
        return slower + "this repository holds no " + file;
    }
    try
    {
        options.RegisterCustomOpsLibrary(library.c_str());
    }
    catch (Ort::Exception const& error)
    {
        return slower + file + " cannot be loaded here: " + error.what();
    }
    return ops + ": run by " + file;
}

//! Whether this processor adds products of uint8 and int8 in 16 bits, where two of them do not fit. ONNX Runtime then
//! has to be told to multiply others, slower; maskline_host/int8_products.py says the same to its Python package.
bool int8ProductsSaturate()
{
#if defined(__x86_64__)
    return !__builtin_cpu_supports("avx512vnni") && !__builtin_cpu_supports("avxvnni");
#else
    return false;
#endif
}

Ort::SessionOptions optionsOf(ModelConfig const& config)
{
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(config.intraOpThreads);
    options.SetInterOpNumThreads(config.interOpThreads);
    options.SetExecutionMode(config.parallel ? ORT_PARALLEL : ORT_SEQUENTIAL);
    config.memoryArena ? options.EnableCpuMemArena() : options.DisableCpuMemArena();
    config.memoryPattern ? options.EnableMemPattern() : options.DisableMemPattern();
    options.SetGraphOptimizationLevel(graphLevel(config.graphLevel));
    // A session's threads else spin after each run, on the cores that the next step wants: half of these were lost.
    options.AddConfigEntry(kOrtSessionOptionsConfigForceSpinningStop, "1");
    if (int8ProductsSaturate())
    {
        options.AddConfigEntry(kOrtSessionOptionsAvx2PrecisionMode, "1");
    }
    return options;
}

std::string listed(std::vector<std::int64_t> const& dims)
{
    std::string text;
    for (std::int64_t const dim : dims)
    {
        text += (text.empty() ? "" : ", ") + std::to_string(dim);
    }
    return "[" + text + "]";
}

//! Whether a tensor of the model has the type and sizes that the config says; what differs otherwise.
std::string misfit(TensorConfig const& stated, Ort::TypeInfo const& found)
{
    auto const info = found.GetTensorTypeAndShapeInfo();
    std::vector<std::int64_t> dims = info.GetShape();
    if (!dims.empty())
    {
        dims.erase(dims.begin());
    }
    bool fits = dims.size() == stated.dims.size();
    for (std::size_t at = 0; fits && at < dims.size(); ++at)
    {
        fits = dims[at] < 0 || stated.dims[at] < 0 || dims[at] == stated.dims[at];
    }
    std::string problem;
    if (info.GetElementType() != stated.type.ort)
    {
        ElementType const* const type = typeOf(info.GetElementType());
        problem = std::string("got ") + (type ? type->onnx : "a type that is not served") + ", expected "
            + stated.type.onnx;
    }
    if (!fits)
    {
        problem += std::string(problem.empty() ? "" : "; ") + "got shape " + listed(dims) + ", expected "
            + listed(stated.dims);
    }
    return problem;
}

//! What differs between the tensors of the config and those of the model, which may have further outputs.
template <typename Names, typename TypeInfo>
std::vector<std::string> mismatches(
    std::string const& kind, std::vector<TensorConfig> const& stated, Names const& names, TypeInfo&& typeInfo)
{
    std::vector<std::string> problems;
    std::string all;
    for (std::string const& name : names)
    {
        all += (all.empty() ? "" : ", ") + name;
        bool known = kind == "output";
        for (TensorConfig const& tensor : stated)
        {
            known = known || tensor.name == name;
        }
        if (!known)
        {
            problems.push_back(kind + " " + name + " is not in the config");
        }
    }
    for (TensorConfig const& tensor : stated)
    {
        std::size_t at = 0;
        while (at < names.size() && names[at] != tensor.name)
        {
            ++at;
        }
        std::string const problem
            = at == names.size() ? "is not in the model, which has " + all : misfit(tensor, typeInfo(at));
        if (!problem.empty())
        {
            problems.push_back(kind + " " + tensor.name + (at == names.size() ? " " : ": ") + problem);
        }
    }
    return problems;
}

//! @throws std::runtime_error: they differ.
void checkContract(Ort::Session const& session, ModelConfig const& config, std::string const& file)
{
    Ort::AllocatorWithDefaultOptions allocator;
    std::vector<std::string> inputs, outputs;
    for (std::size_t at = 0; at < session.GetInputCount(); ++at)
    {
        inputs.emplace_back(session.GetInputNameAllocated(at, allocator).get());
    }
    for (std::size_t at = 0; at < session.GetOutputCount(); ++at)
    {
        outputs.emplace_back(session.GetOutputNameAllocated(at, allocator).get());
    }
    auto problems
        = mismatches("input", config.inputs, inputs, [&](std::size_t at) { return session.GetInputTypeInfo(at); });
    for (std::string& problem :
        mismatches("output", config.outputs, outputs, [&](std::size_t at) { return session.GetOutputTypeInfo(at); }))
    {
        problems.push_back(std::move(problem));
    }
    std::string text;
    for (std::string const& problem : problems)
    {
        text += (text.empty() ? "" : "; ") + problem;
    }
    if (!text.empty())
    {
        throw std::runtime_error("config.pbtxt does not fit " + file + ": " + text + "; assemble the repository anew");
    }
}

} // namespace

void openOnnxRuntime(std::string const& library)
{
    // It sends usage data since 1.29 unless told not to. Here too, for a server that others start.
    ::setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    void* const opened = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const entry = opened == nullptr ? nullptr : ::dlsym(opened, "OrtGetApiBase");
    if (entry == nullptr)
    {
        throw std::runtime_error("ONNX Runtime cannot be loaded: " + std::string(::dlerror())
            + "; name its library: --backend-config=onnxruntime,library=FILE, as `maskline-serve run` does");
    }
    OrtApiBase const* const base = reinterpret_cast<OrtApiBase const* (*)()>(entry)();
    OrtApi const* const api = base->GetApi(kORT_API);
    if (api == nullptr)
    {
        throw std::runtime_error(
            library + ": got ONNX Runtime " + base->GetVersionString() + ", expected 1.18 or later");
    }
    Ort::InitApi(api);
}

Engine::Engine(Ort::Env const& environment, std::string const& folder, ModelConfig config, std::string const& customOps,
    std::function<void(std::string const&)> const& say)
    : mConfig(std::move(config))
{
    std::string const file = folder + "/" + mConfig.file;
    if (!isFile(file))
    {
        throw std::runtime_error(file + " is missing; assemble the repository anew");
    }
    Ort::SessionOptions options = optionsOf(mConfig);
    if (!mConfig.customOps.empty())
    {
        say(registerCustomOps(options, mConfig.customOps, customOps));
    }
    mSession = Ort::Session(environment, file.c_str(), options);
    checkContract(mSession, mConfig, file);
    for (TensorConfig const& tensor : mConfig.inputs)
    {
        mInputNames.push_back(tensor.name.c_str());
    }
    for (TensorConfig const& tensor : mConfig.outputs)
    {
        mOutputNames.push_back(tensor.name.c_str());
    }
}

std::vector<Ort::Value> Engine::run(std::vector<TensorView> const& inputs) const
{
    auto const memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<Ort::Value> values;
    for (std::size_t at = 0; at < inputs.size(); ++at)
    {
        TensorView const& input = inputs[at];
        values.push_back(Ort::Value::CreateTensor(
            memory, input.data, input.bytes, input.shape.data(), input.shape.size(), mConfig.inputs[at].type.ort));
    }
    return mSession.Run(Ort::RunOptions{nullptr}, mInputNames.data(), values.data(), values.size(), mOutputNames.data(),
        mOutputNames.size());
}

} // namespace maskline::triton
