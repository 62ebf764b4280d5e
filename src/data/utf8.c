#include <stdint.h>

#include "data/text_reader.h"

/* Length of the character at `text` by its first byte and the range of the second (RFC 3629, section 4); 0 if
 * it is not one, or not all there. */
static size_t character_bytes(const unsigned char *text, size_t bytes)
{
  unsigned char lead = text[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length > bytes) return 0;
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (text[1] < low || text[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((text[i] & 0xC0) != 0x80) return 0;
  return length;
}

size_t qg_utf8_valid_bytes(const char *text, size_t bytes)
{
  const unsigned char *start = (const unsigned char *)text;
  size_t at = 0;
  while (at < bytes) {
    size_t length = character_bytes(start + at, bytes - at);
    if (length == 0) break;
    at += length;
  }
  return at;
}
