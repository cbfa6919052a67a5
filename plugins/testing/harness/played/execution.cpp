#include "testing/harness/played/execution.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

namespace harness
{
namespace
{

//! Largest difference of values in -2..2 that another order of sums and one rounding give.
double tolerance(nvinfer1::DataType type)
{
    switch (type)
    {
    case nvinfer1::DataType::kHALF: return 2e-3;   // one step of half precision below 4
    case nvinfer1::DataType::kBF16: return 1.6e-2; // likewise
    default: return 1e-5;
    }
}

//! A graph that is destroyed at the end of its scope.
struct Graph
{
    cudaGraph_t graph{nullptr};
    cudaGraphExec_t executable{nullptr};

    ~Graph()
    {
        if (executable != nullptr)
        {
            cudaGraphExecDestroy(executable);
        }
        if (graph != nullptr)
        {
            cudaGraphDestroy(graph);
        }
    }
};

} // namespace

Execution::Execution(Subject& subject, nvinfer1::IPluginV3& engine, Memory& memory, Variant variant)
    : mSubject(subject)
    , mMemory(memory)
    , mVariant(variant)
    , mPlugin(runtime(engine).attachToContext(nullptr))
    , mStream(memory)
    , mWorkspace(memory, workspaceBytes(engine, subject.opCase, variant))
    , mWorkspaceBytes(workspaceBytes(engine, subject.opCase, variant))
{
    require(mPlugin != nullptr, "attachToContext failed: " + subject.logged());
}

PluginTensorDesc const* Execution::outputDescs() const
{
    return mDescs.data() + mInputs.size();
}

void Execution::prepare(Sizes const& sizes, std::uint32_t seed)
{
    OpCase const& opCase = mSubject.opCase;
    mSizes = sizes;
    mDescs = describeAll(opCase, sizes, mVariant);
    auto const values = opCase.values(sizes, seed);
    mInputs.clear();
    mBuffers.clear();
    for (std::size_t i = 0; i < mDescs.size(); ++i)
    {
        mBuffers.emplace_back(mMemory, byteSize(mDescs[i]));
        if (i < values.size())
        {
            mInputs.push_back(encode(values[i], mDescs[i]));
            mBuffers[i].write(mInputs[i]);
        }
    }
    std::int32_t const status = runtime(*mPlugin).onShapeChange(mDescs.data(),
        static_cast<std::int32_t>(mInputs.size()), outputDescs(), static_cast<std::int32_t>(opCase.outputs.size()));
    require(status == 0, "onShapeChange refused the shapes: " + mSubject.logged());
}

void Execution::fill(unsigned char value)
{
    mWorkspace.write(Bytes(mWorkspaceBytes, value));
    for (std::size_t i = mInputs.size(); i < mBuffers.size(); ++i)
    {
        mBuffers[i].fill(value);
    }
    mMemory.wait();
}

std::int32_t Execution::enqueue()
{
    std::vector<void const*> inputs;
    std::vector<void*> outputs;
    for (std::size_t i = 0; i < mBuffers.size(); ++i)
    {
        i < mInputs.size() ? inputs.push_back(mBuffers[i].data()) : outputs.push_back(mBuffers[i].data());
    }
    return runtime(*mPlugin).enqueue(
        mDescs.data(), outputDescs(), inputs.data(), outputs.data(), mWorkspace.data(), mStream.get());
}

std::vector<Bytes> Execution::collect()
{
    mMemory.wait();
    require(mWorkspace.isIntact(), "wrote outside of the workspace of " + std::to_string(mWorkspaceBytes) + " bytes");
    std::vector<Bytes> outputs;
    for (std::size_t i = 0; i < mBuffers.size(); ++i)
    {
        require(mBuffers[i].isIntact(), "wrote outside of tensor " + std::to_string(i));
        if (i >= mInputs.size())
        {
            outputs.push_back(mBuffers[i].read());
        }
        else
        {
            require(mBuffers[i].read() == mInputs[i], "changed input " + std::to_string(i));
        }
    }
    return outputs;
}

std::vector<Bytes> Execution::run(unsigned char value)
{
    fill(value);
    std::int32_t const status = enqueue();
    require(status == 0, "enqueue failed: " + mSubject.logged());
    return collect();
}

std::vector<Bytes> Execution::replay(unsigned char value)
{
    Graph graph;
    requireCuda(cudaStreamBeginCapture(mStream.get(), cudaStreamCaptureModeThreadLocal), "begin of the capture");
    std::int32_t const status = enqueue();
    requireCuda(cudaStreamEndCapture(mStream.get(), &graph.graph), "end of the capture");
    require(status == 0, "enqueue failed while captured: " + mSubject.logged());
    requireCuda(cudaGraphInstantiate(&graph.executable, graph.graph, 0), "cudaGraphInstantiate");
    fill(value);
    requireCuda(cudaGraphLaunch(graph.executable, mStream.get()), "cudaGraphLaunch");
    auto const first = collect();
    fill(static_cast<unsigned char>(~value));
    requireCuda(cudaGraphLaunch(graph.executable, mStream.get()), "cudaGraphLaunch");
    require(collect() == first, "the second replay gives other bytes than the first");
    return first;
}

std::vector<Bytes> Execution::expected() const
{
    std::vector<Bytes> outputs;
    for (std::size_t i = mInputs.size(); i < mDescs.size(); ++i)
    {
        outputs.emplace_back(byteSize(mDescs[i]));
    }
    PluginTensorDesc const variant = makeDesc({}, mVariant.type, mVariant.format);
    int const status = mSubject.opCase.expected(mSizes, variant, mInputs, outputs);
    require(status == 0, "the host library refuses the case: status " + std::to_string(status));
    return outputs;
}

double Execution::compare(std::vector<Bytes> const& outputs, std::vector<Bytes> const& expected) const
{
    double worst = 0.0;
    for (std::size_t i = 0; i < outputs.size(); ++i)
    {
        std::string const& name = mSubject.opCase.outputs[i].name;
        PluginTensorDesc const& desc = outputDescs()[i];
        require(isPaddingZero(outputs[i], desc), name + ": padded channels are not zero");
        if (outputs[i] == expected[i])
        {
            continue;
        }
        auto const got = decode(outputs[i], desc);
        auto const wanted = decode(expected[i], desc);
        double const allowed = mSubject.opCase.exact ? 0.0 : tolerance(desc.type);
        for (std::size_t k = 0; k < got.size(); ++k)
        {
            double const difference = std::abs(got[k] - wanted[k]);
            worst = std::max(worst, difference);
            require(difference <= allowed,
                name + "[" + std::to_string(k) + "] of " + describe(desc) + ": got " + std::to_string(got[k])
                    + ", the host library gives " + std::to_string(wanted[k]));
        }
    }
    return worst;
}

} // namespace harness
