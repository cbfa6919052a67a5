#include "triton/sender.h"

#include "triton/guarded.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>

namespace maskline::triton
{

namespace
{

constexpr std::chrono::microseconds kPOLL{30};
constexpr int kPOLLS = 1000; // then it is sent all the same: some thread may never sleep

//! Whether a thread of this process sleeps; true for one that cannot be seen.
bool sleeps(int thread)
{
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string line;
    std::getline(file, line);
    std::size_t const name = line.rfind(')'); // which may hold anything
    return name == std::string::npos || name + 2 >= line.size() || line[name + 2] != 'R';
}

} // namespace

void send(std::vector<Answer> const& answers)
{
    for (auto const& [response, error] : answers)
    {
        if (response != nullptr)
        {
            ignore(TRITONBACKEND_ResponseSend(response, kRESPONSE_FINAL, error));
        }
        ignore(error);
    }
}

Sender::Sender()
    : mThread([this] { run(); })
{}

Sender::~Sender()
{
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        mEnding = true;
    }
    mChanged.notify_one();
    mThread.join();
}

void Sender::sendWhenAsleep(std::vector<Answer> answers)
{
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        mBatches.push_back({std::move(answers), static_cast<int>(::syscall(SYS_gettid))});
    }
    mChanged.notify_one();
}

void Sender::run()
{
    std::unique_lock<std::mutex> lock(mMutex);
    while (!mEnding || !mBatches.empty())
    {
        mChanged.wait(lock, [this] { return mEnding || !mBatches.empty(); });
        std::vector<Batch> batches;
        batches.swap(mBatches);
        lock.unlock();
        for (Batch const& batch : batches)
        {
            for (int polls = 0; polls < kPOLLS && !sleeps(batch.thread); ++polls)
            {
                std::this_thread::sleep_for(kPOLL);
            }
            send(batch.answers);
        }
        lock.lock();
    }
}

} // namespace maskline::triton
