// Host threads for one call: started when the call starts, gone when it ends; or those that the caller lends.
#pragma once

#include <cstdint>
#include <functional>

namespace maskline
{

//! Threads a call may use.
//!
//! @param asked what the caller asked for; 0: as many as the process may run on, 16 at most.
int threadCount(int asked) noexcept;

//! Threads that somebody else keeps.
class Crew
{
public:
    virtual ~Crew() = default;

    //! Calls `take`, which does not throw, so many times, on as many threads as there are, and returns after the last.
    virtual void run(int threads, std::function<void()> const& take) const = 0;
};

//! For as long as it lives, loops that this thread starts ask the crew for their threads.
class CrewScope
{
public:
    explicit CrewScope(Crew const& crew) noexcept;
    ~CrewScope();
    CrewScope(CrewScope const&) = delete;
    CrewScope& operator=(CrewScope const&) = delete;

private:
    Crew const* mBefore;
};

//! Calls `work(begin, end)` until each of 0..count-1 was in one range, in ranges of `grain`, on `threads` threads.
//!
//! Threads are those of a CrewScope, or live for one call only, so that a process which forks (as servers do) never
//! inherits a dead pool. Starting one costs some ten microseconds: ask for one thread when the whole work is shorter
//! than a few times that.
//!
//! @throws what `work` threw first; the other ranges may or may not have been worked on.
void parallelFor(
    std::int64_t count, std::int64_t grain, int threads, std::function<void(std::int64_t, std::int64_t)> const& work);

} // namespace maskline
