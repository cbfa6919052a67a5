#include "triton/config.h"

#include <stdexcept>

namespace maskline::triton
{

namespace
{

constexpr ElementType kTYPES[] = {
    {"TYPE_UINT8", "tensor(uint8)", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 2, 1},
    {"TYPE_INT8", "tensor(int8)", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 6, 1},
    {"TYPE_INT32", "tensor(int32)", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 8, 4},
    {"TYPE_INT64", "tensor(int64)", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 9, 8},
    {"TYPE_FP16", "tensor(float16)", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, 10, 2},
    {"TYPE_FP32", "tensor(float)", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 11, 4},
};

TensorConfig readTensor(Json const& entry)
{
    std::string const& name = entry["name"].text();
    for (ElementType const& type : kTYPES)
    {
        if (entry["data_type"].text() == type.config)
        {
            TensorConfig tensor{name, type, {}};
            for (Json const& dim : entry["dims"].items())
            {
                tensor.dims.push_back(dim.number("dims of " + name, -1));
            }
            return tensor;
        }
    }
    throw std::runtime_error("config.pbtxt: " + name + ": got " + entry["data_type"].text()
        + ", expected TYPE_UINT8, INT8, INT32, INT64, FP16 or FP32");
}

std::vector<TensorConfig> readTensors(Json const& entries)
{
    std::vector<TensorConfig> tensors;
    for (Json const& entry : entries.items())
    {
        tensors.push_back(readTensor(entry));
    }
    return tensors;
}

} // namespace

ModelConfig readConfig(Json const& config)
{
    auto const setting = [&](char const* key, int otherwise) {
        Json const& value = config["parameters"][key]["string_value"];
        return value.count(std::string("config.pbtxt: parameter ") + key, otherwise);
    };
    if (long long const size = config["max_batch_size"].number("max_batch_size", 0); size < 1)
    {
        throw std::runtime_error("config.pbtxt: max_batch_size: got " + std::to_string(size)
            + ", expected 1 or more: tensors have a batch dimension");
    }
    std::string const& file = config["default_model_filename"].text();
    ModelConfig found{};
    found.file = file.empty() ? "model.onnx" : file;
    found.inputs = readTensors(config["input"]);
    found.outputs = readTensors(config["output"]);
    found.customOps = config["parameters"]["custom_ops"]["string_value"].text();
    found.intraOpThreads = setting("intra_op_thread_count", 0);
    found.interOpThreads = setting("inter_op_thread_count", 0);
    found.parallel = setting("execution_mode", 0) == 1;
    found.memoryArena = setting("enable_mem_arena", 1) != 0;
    found.memoryPattern = setting("enable_mem_pattern", 1) != 0;
    Json const& policy = config["dynamic_batching"]["default_queue_policy"];
    found.queueLimits = policy["max_queue_size"].number("max_queue_size", 0) != 0
        || policy["default_timeout_microseconds"].number("default_timeout_microseconds", 0) != 0
        || policy["allow_timeout_override"].text() == "true";
    found.graphLevel = config["optimization"]["graph"]["level"].number("optimization.graph.level", 0);
    return found;
}

ElementType const* typeOf(ONNXTensorElementDataType type)
{
    for (ElementType const& known : kTYPES)
    {
        if (known.ort == type)
        {
            return &known;
        }
    }
    return nullptr;
}

} // namespace maskline::triton
