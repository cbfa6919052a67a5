// Cuts one piece of device memory into arrays; with a null base it only counts.
#pragma once

#include <cstddef>

namespace maskline
{

class WorkspaceCutter
{
public:
    explicit WorkspaceCutter(void* base)
        : mBase(static_cast<char*>(base))
    {}

    //! The next `count` elements, aligned to 256 bytes when the base is.
    template <typename T>
    T* take(std::size_t count)
    {
        constexpr std::size_t kALIGNMENT = 256;
        std::size_t const begin = mBytes;
        mBytes += (count * sizeof(T) + kALIGNMENT - 1) / kALIGNMENT * kALIGNMENT;
        return mBase == nullptr ? nullptr : reinterpret_cast<T*>(mBase + begin);
    }

    //! What was taken so far.
    std::size_t bytes() const
    {
        return mBytes;
    }

private:
    char* mBase;
    std::size_t mBytes{0};
};

} // namespace maskline
