// Sends responses when the thread that made them waits for work again.
//
// Triton's batcher of a model with limits of its queue looks for a waiting instance when a request comes in, and where
// none waits yet it looks again half a second later (release 24.10). An instance's thread that sends its response
// itself is often put aside for a thread that this wakes, since it has computed for long; a short request later it
// still was not back: on a machine with busy cores such requests stood for that half second. A request of
// another client can still come in between, the rarer the shorter that moment is.
#pragma once

#include "triton/api.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace maskline::triton
{

//! A response, and the error that it carries; null: none.
using Answer = std::pair<TRITONBACKEND_Response*, TRITONSERVER_Error*>;

//! Sends at once. Either part of an answer may be null.
void send(std::vector<Answer> const& answers);

class Sender
{
public:
    Sender();
    ~Sender(); //!< Sends what is left.

    Sender(Sender const&) = delete;
    Sender& operator=(Sender const&) = delete;

    //! Has answers sent once the calling thread sleeps; the last thing that it does before it returns to Triton.
    void sendWhenAsleep(std::vector<Answer> answers);

private:
    struct Batch
    {
        std::vector<Answer> answers;
        int thread; //!< The kernel's number of it.
    };

    void run();

    std::mutex mMutex;
    std::condition_variable mChanged;
    std::vector<Batch> mBatches;
    bool mEnding = false;
    std::thread mThread;
};

} // namespace maskline::triton
