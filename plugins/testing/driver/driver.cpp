// As much of the CUDA driver as pycuda asks for when our code gets memory, a stream and events of it: memory of the GPU
// is memory of the host, and what is enqueued is done at once. For tests on a machine without a GPU: pycuda's own
// binding runs, with the emulator of simt/simt.h in the place of the kernels.
//
// It refuses what a driver refuses: a call without a current context in this thread, an address that was not given out,
// more bytes than were.
#include <cuda.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <ratio>
#include <utility>
#include <vector>

struct CUstream_st
{
};

struct CUevent_st
{
    bool recorded = false;
    std::chrono::steady_clock::time_point at{};
};

namespace
{

char gDevice; // its address is that of the context

std::mutex gLock;
std::map<CUdeviceptr, std::vector<unsigned char>> gMemory;
thread_local std::vector<CUcontext> tContexts;

bool hasContext() noexcept
{
    return !tContexts.empty();
}

//! The bytes from an address on, or null where fewer than `size` were given out there.
unsigned char* bytesAt(CUdeviceptr address, std::size_t size)
{
    std::lock_guard<std::mutex> const lock(gLock);
    auto const after = gMemory.upper_bound(address);
    if (after == gMemory.begin())
    {
        return nullptr;
    }
    auto& [start, bytes] = *std::prev(after);
    auto const offset = static_cast<std::size_t>(address - start);
    return offset <= bytes.size() && size <= bytes.size() - offset ? bytes.data() + offset : nullptr;
}

//! What a call returns that copies or fills memory.
template <typename Work>
CUresult onMemory(CUdeviceptr address, std::size_t size, Work const& work)
{
    if (!hasContext())
    {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    unsigned char* const bytes = bytesAt(address, size);
    if (bytes == nullptr)
    {
        return CUDA_ERROR_INVALID_VALUE;
    }
    work(bytes);
    return CUDA_SUCCESS;
}

} // namespace

extern "C"
{

    CUresult CUDAAPI cuInit(unsigned int)
    {
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal)
    {
        *device = ordinal;
        return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    }

    CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice)
    {
        *context = reinterpret_cast<CUcontext>(&gDevice);
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice)
    {
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuCtxPushCurrent(CUcontext context)
    {
        tContexts.push_back(context);
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuCtxPopCurrent(CUcontext* context)
    {
        if (!hasContext())
        {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        *context = tContexts.back();
        tContexts.pop_back();
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuMemAlloc(CUdeviceptr* address, std::size_t size)
    {
        if (!hasContext() || size == 0)
        {
            return hasContext() ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_CONTEXT;
        }
        std::vector<unsigned char> bytes(size);
        *address = reinterpret_cast<CUdeviceptr>(bytes.data());
        std::lock_guard<std::mutex> const lock(gLock);
        gMemory.emplace(*address, std::move(bytes)); // a moved vector keeps its memory
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuMemFree(CUdeviceptr address)
    {
        std::lock_guard<std::mutex> const lock(gLock);
        return gMemory.erase(address) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }

    CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, std::size_t count)
    {
        return onMemory(to, count, [&](unsigned char* bytes) { std::memset(bytes, value, count); });
    }

    CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, void const* from, std::size_t count)
    {
        return onMemory(to, count, [&](unsigned char* bytes) { std::memcpy(bytes, from, count); });
    }

    CUresult CUDAAPI cuMemcpyDtoH(void* to, CUdeviceptr from, std::size_t count)
    {
        return onMemory(from, count, [&](unsigned char* bytes) { std::memcpy(to, bytes, count); });
    }

    CUresult CUDAAPI cuStreamCreate(CUstream* stream, unsigned int)
    {
        if (!hasContext())
        {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        *stream = std::make_unique<CUstream_st>().release();
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuStreamDestroy(CUstream stream)
    {
        std::unique_ptr<CUstream_st> const gone(stream);
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuEventCreate(CUevent* event, unsigned int)
    {
        if (!hasContext())
        {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        *event = std::make_unique<CUevent_st>().release();
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuEventRecord(CUevent event, CUstream)
    {
        event->recorded = true;
        event->at = std::chrono::steady_clock::now();
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuEventSynchronize(CUevent)
    {
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end)
    {
        if (!start->recorded || !end->recorded)
        {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
        return CUDA_SUCCESS;
    }

    CUresult CUDAAPI cuEventDestroy(CUevent event)
    {
        std::unique_ptr<CUevent_st> const gone(event);
        return CUDA_SUCCESS;
    }

} // extern "C"
