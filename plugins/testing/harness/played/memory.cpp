#include "testing/harness/played/memory.h"

#include "testing/harness/report.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace harness
{
namespace
{
//! An empty array may have no address, and memcpy takes none, not even for no bytes.
void copy(void* to, void const* from, std::size_t bytes)
{
    if (bytes > 0)
    {
        std::memcpy(to, from, bytes);
    }
}

constexpr std::size_t kGUARD = 1024; // a multiple of the alignment; wide enough for a row that runs over
constexpr unsigned char kCANARY = 0xA5;

class HostMemory final : public Memory
{
public:
    void* allocate(std::size_t bytes) override
    {
        void* const address = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
        if (address == nullptr)
        {
            throw std::bad_alloc();
        }
        return address;
    }

    void release(void* address) noexcept override
    {
        std::free(address);
    }

    void write(void* to, void const* from, std::size_t bytes) override
    {
        copy(to, from, bytes);
    }

    void read(void* to, void const* from, std::size_t bytes) override
    {
        copy(to, from, bytes);
    }

    bool isCuda() const noexcept override
    {
        return false;
    }

    void wait() override {}
};

class CudaMemory final : public Memory
{
public:
    void* allocate(std::size_t bytes) override
    {
        void* address = nullptr;
        requireCuda(cudaMalloc(&address, bytes), "cudaMalloc");
        return address;
    }

    void release(void* address) noexcept override
    {
        cudaFree(address);
    }

    void write(void* to, void const* from, std::size_t bytes) override
    {
        requireCuda(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy to the device");
    }

    void read(void* to, void const* from, std::size_t bytes) override
    {
        requireCuda(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy to the host");
    }

    bool isCuda() const noexcept override
    {
        return true;
    }

    void wait() override
    {
        requireCuda(cudaDeviceSynchronize(), "the kernels");
    }
};

} // namespace

void requireCuda(cudaError_t status, char const* what)
{
    require(status == cudaSuccess, std::string(what) + ": " + cudaGetErrorString(status));
}

std::unique_ptr<Memory> makeHostMemory()
{
    return std::make_unique<HostMemory>();
}

std::unique_ptr<Memory> makeCudaMemory(std::string& reason)
{
    int devices = 0;
    cudaError_t const status = cudaGetDeviceCount(&devices);
    if (status == cudaSuccess && devices > 0)
    {
        return std::make_unique<CudaMemory>();
    }
    reason = std::string("no GPU: ") + (status == cudaSuccess ? "none is visible" : cudaGetErrorString(status));
    return nullptr;
}

Stream::Stream(Memory const& memory)
{
    if (memory.isCuda())
    {
        requireCuda(cudaStreamCreateWithFlags(&mStream, cudaStreamNonBlocking), "cudaStreamCreate");
    }
}

Stream::~Stream()
{
    if (mStream != nullptr)
    {
        cudaStreamDestroy(mStream);
    }
}

Buffer::Buffer(Memory& memory, std::size_t bytes)
    : mMemory(memory)
    , mBytes(bytes)
    , mBlock(static_cast<unsigned char*>(memory.allocate(bytes + 2 * kGUARD)))
{
    Bytes const canaries(mBytes + 2 * kGUARD, kCANARY);
    mMemory.write(mBlock, canaries.data(), canaries.size());
}

Buffer::~Buffer()
{
    if (mBlock != nullptr)
    {
        mMemory.release(mBlock);
    }
}

Buffer::Buffer(Buffer&& other) noexcept
    : mMemory(other.mMemory)
    , mBytes(other.mBytes)
    , mBlock(other.mBlock)
{
    other.mBlock = nullptr;
}

void* Buffer::data() const noexcept
{
    return mBlock + kGUARD;
}

void Buffer::fill(unsigned char value)
{
    write(Bytes(mBytes, value));
}

void Buffer::write(Bytes const& bytes)
{
    require(bytes.size() == mBytes,
        "a buffer of " + std::to_string(mBytes) + " bytes is written with " + std::to_string(bytes.size()));
    mMemory.write(data(), bytes.data(), bytes.size());
}

Bytes Buffer::read() const
{
    Bytes bytes(mBytes);
    mMemory.read(bytes.data(), data(), bytes.size());
    return bytes;
}

bool Buffer::isIntact() const
{
    Bytes all(mBytes + 2 * kGUARD);
    mMemory.read(all.data(), mBlock, all.size());
    auto const isCanary = [](unsigned char value) { return value == kCANARY; };
    auto const after = all.begin() + static_cast<std::ptrdiff_t>(kGUARD + mBytes);
    return std::all_of(all.begin(), all.begin() + kGUARD, isCanary) && std::all_of(after, all.end(), isCanary);
}

} // namespace harness
