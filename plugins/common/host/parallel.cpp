#include "common/host/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
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
} // namespace

int threadCount(int asked) noexcept
{
    return asked > 0 ? std::min(asked, kMAX_THREADS) : std::min(availableCores(), kMAX_THREADS);
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
    std::vector<std::thread> helpers;
    for (int i = 1; i < std::min<std::int64_t>(threads, ranges); ++i)
    {
        try
        {
            helpers.emplace_back(take);
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
    if (failure)
    {
        std::rethrow_exception(failure);
    }
}

} // namespace maskline
