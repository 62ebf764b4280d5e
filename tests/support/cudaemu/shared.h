/* Shared memory of the running block, and copies into it that end when they are waited for. */
#ifndef CUDAEMU_SHARED_H
#define CUDAEMU_SHARED_H

#include <cstddef>

namespace cudaemu {

extern char *dynamic_shared;

/* Opts a kernel in to more than 48 KB. False: no device has as much. */
bool allow_shared(const void *kernel, size_t bytes);
bool shared_is_allowed(const void *kernel, size_t bytes);
/* The size of the kernel that runs next; what lies beyond is poisoned under AddressSanitizer. */
void resize_shared(size_t bytes);
/* Fills it, static arrays too, with NaN and forgets copies that nobody waited for. */
void begin_shared(unsigned threads);

/* Ends the program where a store of `bytes` is not aligned to them, or would go to shared memory. */
void check_global_store(const void *to, size_t bytes);

/* 16 bytes, or zeros. The hardware may copy at any time until the wait: in turns everything is copied at the
 * wait, so that one that is missing shows; with a random schedule half of the copies are done at once, so
 * that a buffer that another warp still reads shows as well. */
void copy_async(void *shared, const void *from, bool exists);
void commit_copies();
void wait_for_copies(unsigned left);

}  // namespace cudaemu

#endif
