// The memory that plugins run on: a GPU's, or the host's for plugins whose kernels the emulator runs.
#pragma once

#include "testing/harness/played/tensors.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

namespace harness
{

class Memory
{
public:
    virtual ~Memory() = default;

    //! Memory aligned to 256 bytes, as TensorRT gives it.
    virtual void* allocate(std::size_t bytes) = 0;
    virtual void release(void* address) noexcept = 0;
    virtual void write(void* to, void const* from, std::size_t bytes) = 0;
    virtual void read(void* to, void const* from, std::size_t bytes) = 0;
    virtual bool isCuda() const noexcept = 0;

    //! Waits for all work, and reports what went wrong in it.
    //!
    //! @throws Failure
    virtual void wait() = 0;
};

std::unique_ptr<Memory> makeHostMemory();

//! @param reason out: why there is none when the answer is nullptr.
std::unique_ptr<Memory> makeCudaMemory(std::string& reason);

//! A stream of its own; the null stream for the host's memory.
class Stream
{
public:
    explicit Stream(Memory const& memory);
    ~Stream();
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;

    cudaStream_t get() const noexcept
    {
        return mStream;
    }

private:
    cudaStream_t mStream{nullptr};
};

//! A buffer with canaries before and after it.
class Buffer
{
public:
    Buffer(Memory& memory, std::size_t bytes);
    ~Buffer();
    Buffer(Buffer&& other) noexcept;
    Buffer(Buffer const&) = delete;
    Buffer& operator=(Buffer const&) = delete;

    void* data() const noexcept;
    void fill(unsigned char value);
    void write(Bytes const& bytes);
    Bytes read() const;

    //! Whether nobody wrote before or after it.
    bool isIntact() const;

private:
    Memory& mMemory;
    std::size_t mBytes;
    unsigned char* mBlock;
};

//! @throws Failure when a call of the CUDA runtime failed.
void requireCuda(cudaError_t status, char const* what);

} // namespace harness
