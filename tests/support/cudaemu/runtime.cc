/* Devices and memory of the emulation. Device memory lies in one arena that only the functions of this file
 * and running kernels may touch: a host that reads or writes through a device pointer is stopped by the
 * hardware, unless CUDAEMU_OPEN=1 lets it, as an MPI library that takes device pointers needs. Under
 * AddressSanitizer the gaps between allocations are poisoned. */
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "arena.h"
#include "counts.h"
#include "cuda_runtime.h"
#include "nvtx3/nvToolsExt.h"
#include "streams.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace {

constexpr size_t ARENA_BYTES = size_t(16) << 30, ALIGNMENT = 256, GAP = 256, HUGE_PAGE = 2 << 20;

char *arena;
std::map<size_t, size_t> taken; /* offset -> bytes with the gap behind */
int depth;
int ranges;

bool fault_is(const char *name)
{
  const char *fault = getenv("CUDAEMU_FAULT");
  return fault && strcmp(fault, name) == 0;
}

/* Whether this call, counted in *calls, is the one whose number the environment names. */
bool is_the_one(const char *name, long *calls)
{
  const char *fault = getenv(name);
  return fault && ++*calls == atol(fault);
}

/* Reserved at the first allocation, and closed. */
bool reserve()
{
  if (arena) return true;
  void *memory = mmap(nullptr, ARENA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  madvise(memory, ARENA_BYTES, MADV_HUGEPAGE); /* so that opening and closing it is cheap */
  arena = static_cast<char *>(memory);
  ASAN_POISON_MEMORY_REGION(arena, ARENA_BYTES);
  return true;
}

void protect(int protection)
{
  const char *open = getenv("CUDAEMU_OPEN");
  if (taken.empty() || (protection == PROT_NONE && open && strcmp(open, "1") == 0)) return;
  size_t end = taken.rbegin()->first + taken.rbegin()->second;
  mprotect(arena, (end + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, protection);
}

/* Nobody's arena is larger, whatever the device is said to have. */
size_t device_bytes()
{
  const char *bytes = getenv("CUDAEMU_MEMORY");
  return bytes ? strtoull(bytes, nullptr, 10) : ARENA_BYTES;
}

size_t taken_bytes()
{
  size_t sum = 0;
  for (const auto &line : taken) sum += line.second;
  return sum;
}

/* The first gap that is large enough. */
size_t find_room(size_t bytes)
{
  size_t free_from = 0;
  for (const auto &line : taken) {
    if (line.first - free_from >= bytes) return free_from;
    free_from = line.first + line.second;
  }
  return free_from;
}

}  // namespace

namespace cudaemu {

device_access::device_access()
{
  if (depth++ == 0) protect(PROT_READ | PROT_WRITE);
}

device_access::~device_access()
{
  if (--depth == 0) protect(PROT_NONE);
}

bool launch_fails()
{
  static long launches = 0;
  return is_the_one("CUDAEMU_FAIL_LAUNCH", &launches);
}

}  // namespace cudaemu

const char *cudaGetErrorName(cudaError_t error)
{
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureUnjoined:
      return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
    default:
      return "cudaErrorInvalidValue";
  }
}

const char *cudaGetErrorString(cudaError_t)
{
  return "emulated";
}

cudaError_t cudaDriverGetVersion(int *version)
{
  *version = fault_is("no driver") ? 0 : fault_is("old driver") ? 11040 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
  if (fault_is("no driver") || fault_is("old driver")) return cudaErrorInsufficientDriver;
  if (fault_is("no device")) return cudaErrorNoDevice;
  const char *devices = getenv("CUDAEMU_DEVICES");
  *count = devices ? atoi(devices) : 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return error;
  return device < count ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
  const char *instance = getenv("CUDAEMU_INSTANCE");
  *properties = {"Emulated device", {}, fault_is("old device") ? 7 : 9, 0};
  properties->uuid.bytes[0] = static_cast<char>(device);
  properties->uuid.bytes[1] = static_cast<char>(instance ? atoi(instance) : 0);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device)
{
  snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", static_cast<unsigned>(device));
  return cudaSuccess;
}

cudaError_t cudaemu_function_attributes(cudaFuncAttributes *attributes)
{
  attributes->ptxVersion = 90;
  attributes->binaryVersion = fault_is("new device") ? 100 : 90;
  if (fault_is("another device")) return cudaErrorInvalidDeviceFunction;
  return fault_is("other device") ? cudaErrorNoKernelImageForDevice : cudaSuccess;
}

/* Filled with a pattern: nobody may rely on zeros. */
cudaError_t cudaMalloc(void **memory, size_t bytes)
{
  size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
  static long calls = 0;
  if (!reserve() || is_the_one("CUDAEMU_FAIL_MALLOC", &calls)) return cudaErrorMemoryAllocation;
  size_t offset = find_room(rounded);
  if (offset + rounded > device_bytes()) return cudaErrorMemoryAllocation;
  taken[offset] = rounded;
  cudaemu::device_access access;
  ASAN_UNPOISON_MEMORY_REGION(arena + offset, bytes);
  memset(arena + offset, 0xa5, bytes);
  *memory = arena + offset;
  return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
  if (!memory) return cudaSuccess;
  cudaemu::finish_all();
  auto line = taken.find(static_cast<size_t>(static_cast<char *>(memory) - arena));
  if (line == taken.end()) return cudaErrorInvalidValue;
  ASAN_POISON_MEMORY_REGION(memory, line->second);
  taken.erase(line);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
  *total = device_bytes();
  *free = *total - taken_bytes();
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned)
{
  *memory = malloc(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *memory)
{
  cudaemu::finish_all();
  free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream)
{
  cudaemu_counted.launches++;
  cudaemu::queue(stream, [=] {
    cudaemu::device_access access;
    memcpy(to, from, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
  cudaemu_counted.launches++;
  cudaemu::queue(stream, [=] {
    cudaemu::device_access access;
    memset(memory, value, bytes);
  });
  return cudaSuccess;
}

int nvtxRangePushA(const char *)
{
  return ranges++;
}

int nvtxRangePop()
{
  if (ranges == 0) abort();
  return --ranges;
}
