// A session of ONNX Runtime for one model.
#pragma once

#include "ort/api.h"
#include "triton/config.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace maskline::triton
{

//! A tensor in memory that somebody else owns.
struct TensorView
{
    std::vector<std::int64_t> shape; //!< With the batch dimension.
    void* data;
    std::size_t bytes;
};

//! Opens ONNX Runtime's library and makes it what `Ort::` calls.
//!
//! @throws std::runtime_error: it cannot be opened, or is older than 1.18.
void openOnnxRuntime(std::string const& library);

class Engine
{
public:
    //! Loads a model and compares it with its config.
    //!
    //! @param environment ONNX Runtime's, which lives longer.
    //! @param folder where the model's file is.
    //! @param customOps our library of custom ops; a model with ops of ours runs by their bodies where it is not.
    //! @param say called with a line about what runs these ops.
    //!
    //! @throws std::exception: no such file, one that ONNX Runtime refuses, or one that differs from the config in a
    //! name, type or size; the text names each difference.
    Engine(Ort::Env const& environment, std::string const& folder, ModelConfig config, std::string const& customOps,
        std::function<void(std::string const&)> const& say);

    ModelConfig const& config() const
    {
        return mConfig;
    }

    //! Runs it; may be called by several threads at once.
    //!
    //! @param inputs in the config's order; not changed.
    //!
    //! @return the outputs in the config's order.
    //!
    //! @throws Ort::Exception: what ONNX Runtime says.
    std::vector<Ort::Value> run(std::vector<TensorView> const& inputs) const;

private:
    ModelConfig mConfig;
    std::vector<char const*> mInputNames;
    std::vector<char const*> mOutputNames;
    mutable Ort::Session mSession{nullptr};
};

} // namespace maskline::triton
