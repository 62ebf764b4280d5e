#include "ckpt/finite.h"

#include <string.h>

/* The greatest exponent, without branches so that the loop vectorises. */
static bool words_are_finite(const uint32_t *words, size_t count)
{
  uint32_t most = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t magnitude = words[i] & 0x7fffffffu;
    most = magnitude > most ? magnitude : most;
  }
  return most < 0x7f800000u;
}

static bool halves_are_finite(const uint16_t *halves, size_t count)
{
  uint16_t most = 0;
  for (size_t i = 0; i < count; i++) {
    uint16_t magnitude = halves[i] & 0x7fffu;
    most = magnitude > most ? magnitude : most;
  }
  return most < 0x7f80u;
}

bool qg_ckpt_is_finite(qg_dtype type, const void *data, size_t bytes)
{
  if (type == QG_F32) return words_are_finite(data, bytes / sizeof(uint32_t));
  if (type == QG_BF16) return halves_are_finite(data, bytes / sizeof(uint16_t));
  return true;
}
