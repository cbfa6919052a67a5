// A model's config.pbtxt: what Triton's own `onnxruntime` backend reads of it, and our ops.
#pragma once

#include "triton/json.h"

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace maskline::triton
{

//! A type of tensors under its names: config.pbtxt's, ONNX Runtime's, Triton's.
struct ElementType
{
    char const* config;
    char const* onnx;
    ONNXTensorElementDataType ort;
    int triton;
    std::size_t bytes;
};

//! An input or output.
struct TensorConfig
{
    std::string name;
    ElementType type;
    std::vector<std::int64_t> dims; //!< Without the batch dimension; -1: any.
};

struct ModelConfig
{
    std::string file;
    std::vector<TensorConfig> inputs;
    std::vector<TensorConfig> outputs;
    std::string customOps; //!< Names of our ops that the model has, for the log; empty: none.
    int intraOpThreads;    //!< 0: ONNX Runtime chooses.
    int interOpThreads;
    bool parallel;
    bool memoryArena;
    bool memoryPattern;
    bool queueLimits;     //!< Whether `dynamic_batching` says how many requests may wait, or how long.
    long long graphLevel; //!< As `optimization { graph { level } }` has it.
};

//! Reads a config as Triton's JSON has it.
//!
//! @throws std::runtime_error: no batches, a type that is not served here, a setting that is no whole number.
ModelConfig readConfig(Json const& config);

//! The type of that number of ONNX Runtime's; null for one that is not served here.
ElementType const* typeOf(ONNXTensorElementDataType type);

} // namespace maskline::triton
