// Host threads for one call: started when the call starts, gone when it ends.
#pragma once

#include <cstdint>
#include <functional>

namespace maskline
{

//! Threads a call may use.
//!
//! @param asked what the caller asked for; 0: as many as the process may run on, 16 at most.
int threadCount(int asked) noexcept;

//! Calls `work(begin, end)` until each of 0..count-1 was in one range, in ranges of `grain`, on `threads` threads.
//!
//! Threads live for one call only, so that a process which forks (as servers do) never inherits a dead pool. Starting
//! one costs some ten microseconds: ask for one thread when the whole work is shorter than a few times that.
//!
//! @throws what `work` threw first; the other ranges may or may not have been worked on.
void parallelFor(
    std::int64_t count, std::int64_t grain, int threads, std::function<void(std::int64_t, std::int64_t)> const& work);

} // namespace maskline
