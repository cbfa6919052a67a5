// One execution context of a plugin: what TensorRT makes of an engine to run it.
#pragma once

#include "testing/harness/checks/checks.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace harness
{

//! A plugin attached to a context, with its stream and the workspace of the profile's maximum.
class Execution
{
public:
    //! @param engine the plugin as the engine holds it; may be used by several executions.
    Execution(Subject& subject, nvinfer1::IPluginV3& engine, Memory& memory, Variant variant);

    //! Sets shapes and inputs.
    //!
    //! @throws Failure when the plugin refuses the shapes.
    void prepare(Sizes const& sizes, std::uint32_t seed);

    //! Enqueues once, waits, and looks for what must not happen: a canary or an input that has changed.
    //!
    //! @param fill what the outputs and the workspace hold before.
    //! @return the bytes of all outputs.
    std::vector<Bytes> run(unsigned char fill);

    //! The same by way of a CUDA graph, captured once and launched.
    std::vector<Bytes> replay(unsigned char fill);

    //! What the host library makes of the same inputs.
    std::vector<Bytes> expected() const;

    //! @throws Failure when outputs are not what is expected.
    //!
    //! @return the largest difference.
    double compare(std::vector<Bytes> const& outputs, std::vector<Bytes> const& expected) const;

private:
    std::int32_t enqueue();
    void fill(unsigned char value);
    std::vector<Bytes> collect();
    PluginTensorDesc const* outputDescs() const;

    Subject& mSubject;
    Memory& mMemory;
    Variant mVariant;
    PluginPtr mPlugin;
    Stream mStream;
    Buffer mWorkspace;
    std::size_t mWorkspaceBytes;
    Sizes mSizes;
    std::vector<PluginTensorDesc> mDescs;
    std::vector<Bytes> mInputs;
    std::vector<Buffer> mBuffers; //!< inputs, then outputs
};

} // namespace harness
