#include "shared.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "fibers.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

/* Where the linker puts the static arrays of kernels. */
extern "C" char __start_cudaemu_static __attribute__((weak)), __stop_cudaemu_static __attribute__((weak));

namespace cudaemu {

namespace {

/* What an H100 gives to a block, and what every kernel may take; static arrays, which are not seen here,
 * count too. */
constexpr size_t MOST = 227 << 10, STATIC = 4 << 10, ALWAYS = (48 << 10) - STATIC, PIECE = 16;

alignas(128) char memory[MOST];
size_t size;
std::map<const void *, size_t> allowed;

struct copy {
  void *to;
  const void *from;
  bool exists;
  unsigned group;
};

struct copies_of_thread {
  std::vector<copy> waiting;
  unsigned groups; /* that were committed */
};

std::vector<copies_of_thread> copies;

void check_aligned(const char *what, const void *at, size_t bytes)
{
  if (reinterpret_cast<uintptr_t>(at) % bytes == 0) return;
  fprintf(stderr, "cudaemu: %s at %p is not aligned to %zu bytes\n", what, at, bytes);
  abort();
}

void perform(const copy &c)
{
  if (c.exists) memcpy(c.to, c.from, PIECE);
  else
    memset(c.to, 0, PIECE);
}

}  // namespace

char *dynamic_shared = memory;

bool allow_shared(const void *kernel, size_t bytes)
{
  if (bytes + STATIC > MOST) return false;
  allowed[kernel] = bytes;
  return true;
}

bool shared_is_allowed(const void *kernel, size_t bytes)
{
  auto line = allowed.find(kernel);
  return bytes <= ALWAYS || (line != allowed.end() && bytes <= line->second);
}

void resize_shared(size_t bytes)
{
  ASAN_POISON_MEMORY_REGION(memory, MOST);
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
  size = bytes;
}

void check_global_store(const void *to, size_t bytes)
{
  const char *at = static_cast<const char *>(to);
  check_aligned("a wide store", to, bytes);
  if (at < memory || at >= memory + MOST) return;
  fprintf(stderr, "cudaemu: a store to global memory goes to shared memory\n");
  abort();
}

/* Under AddressSanitizer their surroundings lie between them. */
__attribute__((no_sanitize("address"))) static void spoil_static_arrays()
{
  for (volatile char *at = &__start_cudaemu_static; at < &__stop_cudaemu_static; at++) *at = '\xff';
}

void begin_shared(unsigned threads)
{
  spoil_static_arrays();
  memset(memory, 0xff, size);
  copies.assign(size ? threads : 0, copies_of_thread{});
}

void copy_async(void *shared, const void *from, bool exists)
{
  copies_of_thread &mine = copies.at(position.thread.x);
  copy c = {shared, from, exists, mine.groups};
  check_aligned("an asynchronous copy", shared, PIECE);
  check_aligned("an asynchronous copy", from, PIECE);
  if (coin()) perform(c);
  else
    mine.waiting.push_back(c);
}

void commit_copies()
{
  copies.at(position.thread.x).groups++;
}

void wait_for_copies(unsigned left)
{
  copies_of_thread &mine = copies.at(position.thread.x);
  size_t done = 0;
  while (done < mine.waiting.size() && mine.waiting[done].group + left < mine.groups)
    perform(mine.waiting[done++]);
  mine.waiting.erase(mine.waiting.begin(), mine.waiting.begin() + static_cast<long>(done));
}

}  // namespace cudaemu
