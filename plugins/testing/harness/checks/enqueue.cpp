#include "testing/harness/checks/checks.h"
#include "testing/harness/played/execution.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <string>
#include <thread>
#include <vector>

namespace harness
{
namespace
{

// What the outputs hold before: two different bytes, so that an element nobody writes shows.
constexpr unsigned char kFIRST_FILL = 0xCD;
constexpr unsigned char kSECOND_FILL = 0x32;

//! The engine's plugin: one that has been stored and restored.
PluginPtr restored(Subject& subject)
{
    auto const plugin = subject.make();
    return subject.make(FieldSet::of(*runtime(*plugin).getFieldsToSerialize()), nvinfer1::TensorRTPhase::kRUNTIME);
}

std::string checkResults(Subject& subject, Memory& memory)
{
    auto const engine = restored(subject);
    double worst = 0.0;
    std::size_t runs = 0;
    for (auto const variant : variantsOf(subject.opCase))
    {
        Execution execution(subject, *engine, memory, variant);
        for (auto const& sizes : subject.opCase.sizes)
        {
            execution.prepare(sizes, static_cast<std::uint32_t>(100 + runs));
            auto const outputs = execution.run(kFIRST_FILL);
            require(execution.run(kSECOND_FILL) == outputs,
                "the second run gives other bytes: an element is not written, or depends on chance");
            worst = std::max(worst, execution.compare(outputs, execution.expected()));
            ++runs;
        }
    }
    char text[96];
    std::snprintf(text, sizeof(text), "%zu shapes and formats twice each, largest difference %.2g", runs, worst);
    return text;
}

std::string checkGraph(Subject& subject, Memory& memory)
{
    auto const engine = restored(subject);
    for (auto const variant : variantsOf(subject.opCase))
    {
        Execution execution(subject, *engine, memory, variant);
        execution.prepare(subject.opCase.sizes[0], 7);
        auto const direct = execution.run(kFIRST_FILL);
        require(execution.replay(kSECOND_FILL) == direct, "the graph gives other bytes than enqueue");
    }
    return "captured, launched twice, the same bytes";
}

//! Two contexts of one engine in two threads, each with its own inputs, against the same without threads.
std::string checkThreads(Subject& subject, Memory& memory)
{
    constexpr int kTHREADS = 2;
    constexpr int kROUNDS = 3;
    auto const engine = restored(subject);
    auto const variant = variantsOf(subject.opCase)[0];
    std::deque<Execution> executions; // they cannot be moved
    std::vector<std::vector<Bytes>> alone;
    for (std::uint32_t i = 0; i < kTHREADS; ++i)
    {
        executions.emplace_back(subject, *engine, memory, variant);
        executions[i].prepare(subject.opCase.sizes[0], 40 + i);
        alone.push_back(executions[i].run(kFIRST_FILL));
    }
    std::vector<std::exception_ptr> failures(kTHREADS);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kTHREADS; ++i)
    {
        threads.emplace_back([&, i] {
            try
            {
                for (int round = 0; round < kROUNDS; ++round)
                {
                    require(executions[i].run(kSECOND_FILL) == alone[i], "other bytes than without threads");
                }
            }
            catch (...)
            {
                failures[i] = std::current_exception();
            }
        });
    }
    std::for_each(threads.begin(), threads.end(), [](std::thread& thread) { thread.join(); });
    for (auto const& failure : failures)
    {
        if (failure)
        {
            std::rethrow_exception(failure);
        }
    }
    return "two contexts, three runs each, the same bytes as alone";
}

} // namespace

void checkEnqueue(Subject& subject, Memory* memory, std::string const& reason, Report& report)
{
    std::string const op = subject.name();
    if (memory == nullptr)
    {
        report.notRun(op, "enqueue, graph, threads", reason);
        return;
    }
    report.run(op, "enqueue", [&] { return checkResults(subject, *memory); });
    report.run(op, "two threads", [&] { return checkThreads(subject, *memory); });
    if (memory->isCuda())
    {
        report.run(op, "CUDA graph", [&] { return checkGraph(subject, *memory); });
    }
    else
    {
        report.notRun(op, "CUDA graph", "no GPU: the kernels run in the emulator");
    }
}

} // namespace harness
