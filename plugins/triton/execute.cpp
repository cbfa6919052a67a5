#include "triton/execute.h"

#include "triton/guarded.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

namespace maskline::triton
{

namespace
{

using Shape = std::vector<std::int64_t>;

//! Nanoseconds of the clock that Triton's statistics have.
std::uint64_t now()
{
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count());
}

//! When things happened to a batch, for Triton's statistics.
struct Times
{
    std::uint64_t start = 0;
    std::uint64_t computeStart = 0;
    std::uint64_t computeEnd = 0;
};

//! One request and its inputs, where Triton holds them.
struct Call
{
    TRITONBACKEND_Request* request;
    std::vector<TensorView> inputs;
    std::vector<std::unique_ptr<char[]>> owned; //!< Of inputs that came in several pieces.

    std::int64_t batch() const
    {
        return inputs.front().shape.front();
    }
};

std::size_t product(Shape const& shape)
{
    std::size_t count = 1;
    for (std::int64_t const side : shape)
    {
        count *= static_cast<std::size_t>(side);
    }
    return count;
}

void requireHost(int memory, std::string const& name)
{
    if (memory == kMEMORY_GPU)
    {
        throw std::runtime_error(name + ": got memory of a GPU, expected the host's");
    }
}

//! An input in one piece: Triton's own memory where it has it so, a copy otherwise.
TensorView readInput(Call& call, TensorConfig const& config)
{
    TRITONBACKEND_Input* input = nullptr;
    std::int64_t const* shape = nullptr;
    std::uint32_t rank = 0, pieces = 0;
    std::uint64_t bytes = 0;
    check(TRITONBACKEND_RequestInput(call.request, config.name.c_str(), &input));
    check(TRITONBACKEND_InputProperties(input, nullptr, nullptr, &shape, &rank, &bytes, &pieces));
    TensorView view{Shape(shape, shape + rank), nullptr, bytes};
    if (rank < 1 || bytes != product(view.shape) * config.type.bytes)
    {
        throw std::runtime_error("input " + config.name + ": got " + std::to_string(bytes) + " bytes, expected "
            + std::to_string(product(view.shape) * config.type.bytes) + " by its shape");
    }
    std::uint64_t filled = 0;
    for (std::uint32_t piece = 0; piece < pieces; ++piece)
    {
        void const* data = nullptr;
        std::uint64_t size = 0;
        int memory = kMEMORY_CPU;
        std::int64_t device = 0;
        check(TRITONBACKEND_InputBuffer(input, piece, &data, &size, &memory, &device));
        requireHost(memory, "input " + config.name);
        if (pieces == 1)
        {
            view.data = const_cast<void*>(data); // ONNX Runtime asks for it and does not write
            return view;
        }
        if (piece == 0)
        {
            call.owned.push_back(std::make_unique<char[]>(bytes));
            view.data = call.owned.back().get();
        }
        std::memcpy(static_cast<char*>(view.data) + filled, data, size);
        filled += size;
    }
    return view;
}

//! The inputs of several calls as one batch.
std::vector<TensorView> join(std::vector<Call*> const& calls, std::vector<std::unique_ptr<char[]>>& owned)
{
    if (calls.size() == 1)
    {
        return calls.front()->inputs;
    }
    std::vector<TensorView> joint = calls.front()->inputs;
    for (std::size_t at = 0; at < joint.size(); ++at)
    {
        joint[at].bytes = 0;
        joint[at].shape[0] = 0;
        for (Call const* call : calls)
        {
            joint[at].bytes += call->inputs[at].bytes;
            joint[at].shape[0] += call->inputs[at].shape[0];
        }
        owned.push_back(std::make_unique<char[]>(joint[at].bytes));
        joint[at].data = owned.back().get();
        std::size_t filled = 0;
        for (Call const* call : calls)
        {
            std::memcpy(owned.back().get() + filled, call->inputs[at].data, call->inputs[at].bytes);
            filled += call->inputs[at].bytes;
        }
    }
    return joint;
}

//! Names of the outputs that a request wants.
std::vector<std::string> wantedOutputs(TRITONBACKEND_Request* request)
{
    std::uint32_t count = 0;
    check(TRITONBACKEND_RequestOutputCount(request, &count));
    std::vector<std::string> names;
    for (std::uint32_t at = 0; at < count; ++at)
    {
        char const* name = nullptr;
        check(TRITONBACKEND_RequestOutputName(request, at, &name));
        names.emplace_back(name);
    }
    return names;
}

//! Rows `first` to `first + rows` of an output, into a response.
void writeOutput(TRITONBACKEND_Response* response, TensorConfig const& config, Ort::Value const& value,
    std::int64_t first, std::int64_t rows)
{
    Shape shape = value.GetTensorTypeAndShapeInfo().GetShape();
    shape[0] = rows;
    std::size_t const bytes = product(shape) * config.type.bytes;
    TRITONBACKEND_Output* output = nullptr;
    check(TRITONBACKEND_ResponseOutput(response, &output, config.name.c_str(), config.type.triton, shape.data(),
        static_cast<std::uint32_t>(shape.size())));
    void* buffer = nullptr;
    int memory = kMEMORY_CPU;
    std::int64_t device = 0;
    check(TRITONBACKEND_OutputBuffer(output, &buffer, bytes, &memory, &device));
    requireHost(memory, "output " + config.name);
    std::size_t const row = rows == 0 ? 0 : bytes / static_cast<std::size_t>(rows);
    char const* const data = static_cast<char const*>(value.GetTensorRawData());
    std::memcpy(buffer, data + row * static_cast<std::size_t>(first), bytes);
}

//! Fills a response with a call's share of what came out.
void writeOutputs(TRITONBACKEND_Response* response, Call const& call, Engine const& engine,
    std::vector<Ort::Value> const& values, std::int64_t first)
{
    for (std::string const& name : wantedOutputs(call.request))
    {
        std::vector<TensorConfig> const& outputs = engine.config().outputs;
        for (std::size_t at = 0; at < outputs.size(); ++at)
        {
            if (outputs[at].name == name)
            {
                writeOutput(response, outputs[at], values[at], first, call.batch());
            }
        }
    }
}

//! Every batch dimension of what came out is the batch that went in.
void checkBatch(std::vector<Ort::Value> const& values, ModelConfig const& config, std::int64_t batch)
{
    for (std::size_t at = 0; at < values.size(); ++at)
    {
        Shape const shape = values[at].GetTensorTypeAndShapeInfo().GetShape();
        if (shape.empty() || shape.front() != batch)
        {
            throw std::runtime_error("output " + config.outputs[at].name + ": got "
                + (shape.empty() ? "no batch" : "a batch of " + std::to_string(shape.front())) + ", expected "
                + std::to_string(batch));
        }
    }
}

//! The run of some requests.
class Batch
{
public:
    Batch(TRITONBACKEND_ModelInstance* instance, std::string const& name, Engine const& engine, Sender* sender)
        : mInstance(instance)
        , mName(name)
        , mEngine(engine)
        , mSender(sender)
    {}

    ~Batch()
    {
        if (mSender != nullptr)
        {
            mSender->sendWhenAsleep(std::move(mAnswers));
        }
    }

    Batch(Batch const&) = delete;
    Batch& operator=(Batch const&) = delete;

    //! Runs calls of equal shapes together; one by one where that fails, so that only the culprit fails.
    void run(std::vector<Call*> const& calls, std::uint64_t start)
    {
        Times times{start, 0, 0};
        std::int64_t batch = 0;
        for (Call const* call : calls)
        {
            batch += call->batch();
        }
        std::vector<Ort::Value> values;
        try
        {
            std::vector<std::unique_ptr<char[]>> owned;
            std::vector<TensorView> const inputs = join(calls, owned);
            times.computeStart = now();
            values = mEngine.run(inputs);
            times.computeEnd = now();
            checkBatch(values, mEngine.config(), batch);
        }
        catch (std::exception const& error)
        {
            if (calls.size() == 1)
            {
                fail(*calls.front(), error.what(), times);
                return;
            }
            for (Call* call : calls)
            {
                run({call}, now());
            }
            return;
        }
        answer(calls, std::move(values), batch, times);
    }

    //! Answers a request with an error.
    void fail(Call const& call, std::string const& text, Times const& times)
    {
        TRITONBACKEND_Response* response = nullptr;
        ignore(TRITONBACKEND_ResponseNew(&response, call.request));
        finish(call, response, TRITONSERVER_ErrorNew(kERROR_INTERNAL, (mName + ": " + text).c_str()), times);
    }

private:
    //! Counts the batch before any of its answers is sent, for the reason that `finish` has.
    void answer(std::vector<Call*> const& calls, std::vector<Ort::Value> values, std::int64_t batch, Times const& times)
    {
        std::vector<Answer> answers;
        std::int64_t first = 0;
        for (Call const* call : calls)
        {
            TRITONBACKEND_Response* response = nullptr;
            TRITONSERVER_Error* const error = guarded([&] {
                check(TRITONBACKEND_ResponseNew(&response, call->request));
                writeOutputs(response, *call, mEngine, values, first);
            });
            answers.emplace_back(response, error);
            first += call->batch();
        }
        ignore(TRITONBACKEND_ModelInstanceReportBatchStatistics(
            mInstance, static_cast<std::uint64_t>(batch), times.start, times.computeStart, times.computeEnd, now()));
        values.clear();
        for (std::size_t at = 0; at < calls.size(); ++at)
        {
            finish(*calls[at], answers[at].first, answers[at].second, times);
        }
    }

    //! Reports before it sends: whoever has the answer finds it in the statistics. Without a response, which Triton
    //! refuses only when the server ends, nobody can be told.
    void finish(Call const& call, TRITONBACKEND_Response* response, TRITONSERVER_Error* error, Times const& times)
    {
        ignore(TRITONBACKEND_ModelInstanceReportStatistics(
            mInstance, call.request, error == nullptr, times.start, times.computeStart, times.computeEnd, now()));
        ignore(TRITONBACKEND_RequestRelease(call.request, kRELEASE_ALL));
        if (mSender == nullptr)
        {
            send({{response, error}});
        }
        else
        {
            mAnswers.emplace_back(response, error);
        }
    }

    TRITONBACKEND_ModelInstance* mInstance;
    std::string const& mName;
    Engine const& mEngine;
    Sender* mSender;
    std::vector<Answer> mAnswers; //!< To be sent at the very end.
};

//! Shapes of a call's inputs without the batch: calls that agree in them can run together.
std::vector<Shape> shapesOf(Call const& call)
{
    std::vector<Shape> shapes;
    for (TensorView const& input : call.inputs)
    {
        shapes.emplace_back(input.shape.begin() + 1, input.shape.end());
    }
    return shapes;
}

} // namespace

void execute(TRITONBACKEND_ModelInstance* instance, std::string const& name, Engine const& engine, Sender* sender,
    std::vector<TRITONBACKEND_Request*> const& requests) noexcept
{
    std::uint64_t const start = now();
    Batch batch(instance, name, engine, sender); // before all else: it goes last
    std::vector<Call> calls(requests.size());
    std::map<std::vector<Shape>, std::vector<Call*>> groups;
    for (std::size_t at = 0; at < requests.size(); ++at)
    {
        Call& call = calls[at];
        call.request = requests[at];
        try
        {
            for (TensorConfig const& config : engine.config().inputs)
            {
                call.inputs.push_back(readInput(call, config));
            }
            groups[shapesOf(call)].push_back(&call);
        }
        catch (std::exception const& error)
        {
            batch.fail(call, error.what(), {start, start, start});
        }
    }
    for (auto const& [shapes, group] : groups)
    {
        batch.run(group, start);
    }
}

} // namespace maskline::triton
