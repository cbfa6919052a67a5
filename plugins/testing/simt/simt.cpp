#include "testing/simt/simt.h"

#include "common/export.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <ucontext.h>
#include <vector>

thread_local uint3 threadIdx;
thread_local uint3 blockIdx;
thread_local dim3 blockDim;
thread_local dim3 gridDim;

namespace simt
{
namespace
{

constexpr std::size_t kSTACK_BYTES = 64 * 1024;
constexpr std::size_t kMAX_SHARED_BYTES = 48 * 1024; // what every GPU gives without being asked
constexpr unsigned kMAX_THREADS = 1024;
constexpr unsigned kMAX_GRID_YZ = 65535;
constexpr std::size_t kWARP = 32;

enum class State
{
    kREADY,
    kAT_BARRIER,
    kAT_COLLECTIVE,
    kENDED,
};

struct Fiber
{
    ucontext_t context{}; //!< where it starts
    std::jmp_buf place{}; //!< where it waits; a jump is many times faster than swapcontext, which enters the kernel
    bool started{false};
    std::unique_ptr<char[]> stack;
    uint3 index{};
    State state{State::kENDED};
    unsigned mask{0};       //!< lanes of the collective it waits at
    std::uint64_t posted{}; //!< what it brought there
    bool predicate{false};
};

//! What the lanes of a warp brought to their last collective; unchanged until each of them has gone on and read it.
struct Published
{
    std::array<std::uint64_t, kWARP> values{};
    unsigned ballot{0};
};

//! One block's threads; used again for each block of a grid.
class Block
{
public:
    Block(dim3 block, std::size_t sharedBytes, std::function<void()> const& thread, std::mt19937_64& order);

    //! Runs all threads to their end.
    //!
    //! @throws std::runtime_error when they wait for each other for ever, and what a thread threw.
    void run();

    //! Called by a fiber: leaves it until the scheduler lets it go on.
    void wait(State state);

    Fiber& current()
    {
        return mFibers[mCurrent];
    }

    Published const& published() const
    {
        return mPublished[mCurrent / kWARP];
    }

    int lane() const
    {
        return static_cast<int>(mCurrent % kWARP);
    }

    void* shared()
    {
        auto const address = reinterpret_cast<std::uintptr_t>(mShared.data());
        return reinterpret_cast<void*>((address + 15) / 16 * 16);
    }

private:
    static void enter();
    void resume(std::size_t i);
    bool runReady();
    bool releaseWarp(std::size_t first);
    bool isComplete(std::size_t first, std::size_t count, unsigned mask) const;
    bool releaseBarrier();
    [[noreturn]] void reportDeadlock() const;

    std::function<void()> const& mThread;
    std::mt19937_64& mOrder;
    std::vector<char> mShared;
    std::vector<Fiber> mFibers;
    std::vector<Published> mPublished;
    std::jmp_buf mScheduler{};
    std::size_t mCurrent{0};
    std::exception_ptr mFailure;
};

thread_local Block* gBlock = nullptr;
std::uint64_t gSeed = 0;

Block::Block(dim3 block, std::size_t sharedBytes, std::function<void()> const& thread, std::mt19937_64& order)
    : mThread(thread)
    , mOrder(order)
    , mShared(sharedBytes + 16)
    , mFibers(block.x * block.y * block.z)
    , mPublished((mFibers.size() + kWARP - 1) / kWARP)
{
    for (std::size_t i = 0; i < mFibers.size(); ++i)
    {
        auto const linear = static_cast<unsigned>(i);
        mFibers[i].stack.reset(new char[kSTACK_BYTES]);
        mFibers[i].index = {linear % block.x, linear / block.x % block.y, linear / block.x / block.y};
    }
}

void Block::enter()
{
    Block& block = *gBlock;
    try
    {
        block.mThread();
    }
    catch (...)
    {
        block.mFailure = std::current_exception();
    }
    block.wait(State::kENDED);
}

void Block::wait(State state)
{
    Fiber& fiber = current();
    fiber.state = state;
    if (_setjmp(fiber.place) == 0)
    {
        std::longjmp(mScheduler, 1);
    }
}

void Block::run()
{
    std::fill(mShared.begin(), mShared.end(), static_cast<char>(0xCD));
    for (auto& fiber : mFibers)
    {
        fiber.state = State::kREADY;
        fiber.started = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kSTACK_BYTES;
        makecontext(&fiber.context, &Block::enter, 0);
    }
    gBlock = this;
    while (runReady())
    {
        bool released = false;
        for (std::size_t first = 0; first < mFibers.size(); first += kWARP)
        {
            released = releaseWarp(first) || released;
        }
        if (!released && !releaseBarrier())
        {
            reportDeadlock();
        }
    }
}

//! Lets one thread run to its next barrier or its end.
void Block::resume(std::size_t i)
{
    Fiber& fiber = mFibers[i];
    mCurrent = i;
    threadIdx = fiber.index;
    if (_setjmp(mScheduler) == 0)
    {
        if (fiber.started)
        {
            std::longjmp(fiber.place, 1);
        }
        fiber.started = true;
        setcontext(&fiber.context);
    }
}

//! Lets every thread that can go on run to its next barrier or its end. False: all have ended.
bool Block::runReady()
{
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < mFibers.size(); ++i)
    {
        if (mFibers[i].state == State::kREADY)
        {
            ready.push_back(i);
        }
    }
    std::shuffle(ready.begin(), ready.end(), mOrder);
    for (auto const i : ready)
    {
        resume(i);
        if (mFailure)
        {
            std::rethrow_exception(mFailure);
        }
    }
    return std::any_of(mFibers.begin(), mFibers.end(), [](Fiber const& f) { return f.state != State::kENDED; });
}

//! Whether all lanes of `mask` that have not ended wait at a collective of that mask.
bool Block::isComplete(std::size_t first, std::size_t count, unsigned mask) const
{
    for (std::size_t lane = 0; lane < count; ++lane)
    {
        Fiber const& fiber = mFibers[first + lane];
        bool const arrived = fiber.state == State::kAT_COLLECTIVE && fiber.mask == mask;
        if ((mask >> lane & 1U) != 0 && !arrived && fiber.state != State::kENDED)
        {
            return false;
        }
    }
    return true;
}

//! Lets the lanes of one complete collective of a warp go on; others of the same warp have their turn later, since
//! `Published` has room for one.
bool Block::releaseWarp(std::size_t first)
{
    std::size_t const count = std::min(kWARP, mFibers.size() - first);
    for (std::size_t lane = 0; lane < count; ++lane)
    {
        Fiber const& fiber = mFibers[first + lane];
        if (fiber.state != State::kAT_COLLECTIVE || !isComplete(first, count, fiber.mask))
        {
            continue;
        }
        unsigned const mask = fiber.mask;
        Published& published = mPublished[first / kWARP];
        published.ballot = 0;
        for (std::size_t other = 0; other < count; ++other)
        {
            Fiber& member = mFibers[first + other];
            if ((mask >> other & 1U) != 0 && member.state == State::kAT_COLLECTIVE)
            {
                published.values[other] = member.posted;
                published.ballot |= member.predicate ? 1U << other : 0U;
                member.state = State::kREADY;
            }
        }
        return true;
    }
    return false;
}

bool Block::releaseBarrier()
{
    bool const all = std::all_of(mFibers.begin(), mFibers.end(),
        [](Fiber const& fiber) { return fiber.state == State::kAT_BARRIER || fiber.state == State::kENDED; });
    for (auto& fiber : mFibers)
    {
        if (all && fiber.state == State::kAT_BARRIER)
        {
            fiber.state = State::kREADY;
        }
    }
    return all;
}

void Block::reportDeadlock() const
{
    auto const count = [this](State state) {
        return std::to_string(std::count_if(
            mFibers.begin(), mFibers.end(), [state](Fiber const& fiber) { return fiber.state == state; }));
    };
    throw std::runtime_error("the threads of a block wait for each other for ever: " + count(State::kAT_BARRIER)
        + " at __syncthreads, " + count(State::kAT_COLLECTIVE) + " at a warp collective, " + count(State::kENDED)
        + " ended; expected all of a block, or all lanes of a mask, at the same place");
}

bool isValid(dim3 grid, dim3 block, std::size_t sharedBytes)
{
    std::uint64_t const threads = std::uint64_t{block.x} * block.y * block.z;
    std::uint64_t const blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    return threads > 0 && threads <= kMAX_THREADS && blocks > 0 && grid.x <= 0x7fffffffU && grid.y <= kMAX_GRID_YZ
        && grid.z <= kMAX_GRID_YZ && sharedBytes <= kMAX_SHARED_BYTES;
}

} // namespace

cudaError_t run(dim3 grid, dim3 block, std::size_t sharedBytes, std::function<void()> const& thread)
{
    if (!isValid(grid, block, sharedBytes))
    {
        return cudaErrorInvalidConfiguration;
    }
    try
    {
        std::mt19937_64 order(gSeed);
        Block worker(block, sharedBytes, thread, order);
        std::vector<unsigned> blocks(grid.x * grid.y * grid.z);
        std::iota(blocks.begin(), blocks.end(), 0U);
        std::shuffle(blocks.begin(), blocks.end(), order);
        gridDim = grid;
        blockDim = block;
        for (auto const linear : blocks)
        {
            blockIdx = {linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
            worker.run();
        }
        return cudaSuccess;
    }
    catch (std::exception const& error)
    {
        std::fprintf(stderr, "simt: %s\n", error.what());
        return cudaErrorLaunchFailure;
    }
}

void setSeed(std::uint64_t seed) noexcept
{
    gSeed = seed;
}

void* dynamicShared() noexcept
{
    return gBlock->shared();
}

void blockBarrier()
{
    gBlock->wait(State::kAT_BARRIER);
}

int lane() noexcept
{
    return gBlock->lane();
}

std::uint64_t exchange(unsigned mask, std::uint64_t value, int source)
{
    gBlock->current().mask = mask;
    gBlock->current().posted = value;
    gBlock->wait(State::kAT_COLLECTIVE);
    return gBlock->published().values[static_cast<std::size_t>(source) % kWARP];
}

unsigned ballot(unsigned mask, bool predicate)
{
    gBlock->current().mask = mask;
    gBlock->current().predicate = predicate;
    gBlock->wait(State::kAT_COLLECTIVE);
    return gBlock->published().ballot;
}

} // namespace simt

//! Decides the order of threads and blocks of the kernels run from now on.
MASKLINE_API void maskline_simt_set_seed(unsigned long long seed)
{
    simt::setSeed(seed);
}
