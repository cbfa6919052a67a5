#include "common/host/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <system_error>
#include <thread>
#include <vector>

namespace maskline
{
namespace
{
// More threads than this find no more memory bandwidth on the machines we know.
constexpr int kMAX_THREADS = 16;

thread_local Crew const* crewOfThread = nullptr;

int availableCores() noexcept
{
    cpu_set_t set;
    CPU_ZERO(&set);
    // The affinity mask, not the number of cores: a container or taskset may allow fewer.
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
    {
        return 1;
    }
    return std::max(1, CPU_COUNT(&set));
}

//! Has a thread that was just started leave this thread's core.
//!
//! The kernel of a virtual machine takes an idle core, which its host has halted, for a busy one: a new thread then
//! waits on the core of the thread that made it until the next balancing, up to 4 ms, which is as long as many a call.
//! So it is allowed the other cores only, which moves it, and then all of them again.
void moveToAnotherCore(std::thread& helper) noexcept
{
    cpu_set_t all;
    CPU_ZERO(&all);
    int const here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof(all), &all) != 0)
    {
        return;
    }
    cpu_set_t others = all;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) > 0)
    {
        pthread_setaffinity_np(helper.native_handle(), sizeof(others), &others);
        pthread_setaffinity_np(helper.native_handle(), sizeof(all), &all);
    }
}

//! Calls `take` so many times, on as many threads: this one and others that end with the call.
void runOnOwnThreads(int threads, std::function<void()> const& take)
{
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; ++i)
    {
        try
        {
            helpers.emplace_back(take);
            moveToAnotherCore(helpers.back());
        }
        catch (std::system_error const&)
        {
            break; // no more threads to be had: the ones there are do the work
        }
    }
    take();
    for (auto& helper : helpers)
    {
        helper.join();
    }
}

} // namespace

int threadCount(int asked) noexcept
{
    return asked > 0 ? std::min(asked, kMAX_THREADS) : std::min(availableCores(), kMAX_THREADS);
}

CrewScope::CrewScope(Crew const& crew) noexcept
    : mBefore(crewOfThread)
{
    crewOfThread = &crew;
}

CrewScope::~CrewScope()
{
    crewOfThread = mBefore;
}

void parallelFor(
    std::int64_t count, std::int64_t grain, int threads, std::function<void(std::int64_t, std::int64_t)> const& work)
{
    grain = std::max<std::int64_t>(grain, 1);
    std::atomic<std::int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failureMutex;
    auto const take = [&]() noexcept {
        try
        {
            for (std::int64_t begin = next.fetch_add(grain); begin < count; begin = next.fetch_add(grain))
            {
                work(begin, std::min(begin + grain, count));
            }
        }
        catch (...)
        {
            std::lock_guard<std::mutex> const lock(failureMutex);
            failure = failure ? failure : std::current_exception();
            next = count;
        }
    };
    auto const ranges = (count + grain - 1) / grain;
    int const taking = static_cast<int>(std::min<std::int64_t>(threads, ranges));
    if (crewOfThread != nullptr && taking > 1)
    {
        crewOfThread->run(taking, take);
    }
    else
    {
        runOnOwnThreads(taking, take);
    }
    if (failure)
    {
        std::rethrow_exception(failure);
    }
}

} // namespace maskline
