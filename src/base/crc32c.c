/* CRC-32C: polynomial 0x1EDC6F41, reflected 0x82F63B78, initial value and final xor 0xFFFFFFFF (RFC 3720). */
#include <string.h>

#include "qgalore/base.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* The CRC is linear, so the entry of a byte is the xor of the entries of its bits. */
#define BIT(i, b, value) ((i) >> (b)&1 ? (value) : 0u)
#define ENTRY(i)                                                                                       \
  (BIT(i, 0, 0xF26B8303u) ^ BIT(i, 1, 0xE13B70F7u) ^ BIT(i, 2, 0xC79A971Fu) ^ BIT(i, 3, 0x8AD958CFu) ^ \
   BIT(i, 4, 0x105EC76Fu) ^ BIT(i, 5, 0x20BD8EDEu) ^ BIT(i, 6, 0x417B1DBCu) ^ BIT(i, 7, 0x82F63B78u))
#define ENTRIES_4(i) ENTRY(i), ENTRY(i + 1), ENTRY(i + 2), ENTRY(i + 3)
#define ENTRIES_16(i) ENTRIES_4(i), ENTRIES_4(i + 4), ENTRIES_4(i + 8), ENTRIES_4(i + 12)
#define ENTRIES_64(i) ENTRIES_16(i), ENTRIES_16(i + 16), ENTRIES_16(i + 32), ENTRIES_16(i + 48)

static uint32_t crc_table(uint32_t crc, const unsigned char *data, size_t bytes)
{
  static const uint32_t table[256] = {ENTRIES_64(0), ENTRIES_64(64), ENTRIES_64(128), ENTRIES_64(192)};
  for (size_t i = 0; i < bytes; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *data,
                                                            size_t bytes)
{
  uint64_t wide = crc;
  for (; bytes >= 8; data += 8, bytes -= 8) {
    uint64_t word;
    memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  return crc_table((uint32_t)wide, data, bytes);
}
#endif

uint32_t qg_crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc_sse42(~crc, data, bytes);
#endif
  return ~crc_table(~crc, data, bytes);
}
