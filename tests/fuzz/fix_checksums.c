#include "fuzz/fix_checksums.h"

#include <string.h>

/* HDF5's own checksum of its structures (lookup3), in the library but not in its headers. */
uint32_t H5_checksum_metadata(const void *data, size_t size, uint32_t initial);

enum { SUPERBLOCK = 44, PREFIX = 6, CONTINUATION = 0x10 };
enum { HAS_ORDER = 0x04, HAS_PHASE_CHANGE = 0x10, HAS_TIMES = 0x20 }; /* flags of an object header */

/* Little-endian, of 1 to 8 bytes. */
static uint64_t number_at(const uint8_t *at, size_t bytes)
{
  uint64_t value = 0;
  memcpy(&value, at, bytes);
  return value;
}

/* The checksum lies behind the bytes that it covers. */
static void fix_block(uint8_t *file, size_t size, uint64_t first, uint64_t covered)
{
  if (first > size || covered > size - first || size - first - covered < sizeof(uint32_t)) return;
  uint32_t sum = H5_checksum_metadata(file + first, covered, 0);
  memcpy(file + first + covered, &sum, sizeof sum);
}

/* Continuations are messages that tell where the rest of the header lies, and how long it is. */
static void fix_continuations(uint8_t *file, size_t size, size_t first, size_t end, uint8_t flags)
{
  size_t head = flags & HAS_ORDER ? 6 : 4;
  for (size_t at = first, length; at + head + 16 <= end; at += head + length) {
    length = number_at(file + at + 1, 2);
    if (file[at] != CONTINUATION) continue;
    uint64_t bytes = number_at(file + at + head + 8, 8);
    if (bytes >= sizeof(uint32_t))
      fix_block(file, size, number_at(file + at + head, 8), bytes - sizeof(uint32_t));
  }
}

/* "OHDR", version, flags, [times], [phase change], size of the messages, messages, checksum. */
static void fix_header(uint8_t *file, size_t size, size_t first)
{
  uint8_t flags = file[first + 5];
  size_t at = first + PREFIX + (flags & HAS_TIMES ? 16 : 0) + (flags & HAS_PHASE_CHANGE ? 4 : 0);
  size_t width = (size_t)1 << (flags & 3);
  if (at + width > size) return;
  uint64_t messages = number_at(file + at, width);
  at += width;
  if (messages > size - at) return;
  fix_continuations(file, size, at, at + messages, flags);
  fix_block(file, size, first, at + messages - first);
}

void qg_fuzz_fix_checksums(uint8_t *file, size_t size)
{
  fix_block(file, size, 0, SUPERBLOCK);
  for (size_t at = 0; at + PREFIX <= size; at++)
    if (memcmp(file + at, "OHDR", 4) == 0) fix_header(file, size, at);
}
