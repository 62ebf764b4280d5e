/* Promises of the checksum that guards checkpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "qgalore/base.h"

/* Bit by bit from the definition (RFC 3720, B.4): slow and obviously right. */
static uint32_t crc_by_definition(uint32_t crc, const unsigned char *data, size_t bytes)
{
  crc = ~crc;
  for (size_t i = 0; i < bytes; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

static void known_answers(void **state)
{
  (void)state;
  unsigned char block[32];
  assert_int_equal(qg_crc32c(0, "123456789", 9), 0xE3069283u);
  assert_int_equal(qg_crc32c(0, "", 0), 0);
  memset(block, 0, sizeof block);
  assert_int_equal(qg_crc32c(0, block, sizeof block), 0x8A9136AAu);
  memset(block, 0xff, sizeof block);
  assert_int_equal(qg_crc32c(0, block, sizeof block), 0x62A8AB43u);
  for (int i = 0; i < 32; i++) block[i] = (unsigned char)i;
  assert_int_equal(qg_crc32c(0, block, sizeof block), 0x46DD794Eu);
}

static void fill(unsigned char *data, size_t bytes)
{
  uint32_t x = 2463534242u;
  for (size_t i = 0; i < bytes; i++) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    data[i] = (unsigned char)x;
  }
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
  (void)state;
  unsigned char data[320];
  fill(data, sizeof data);
  for (size_t offset = 0; offset < 16; offset++)
    for (size_t bytes = 0; bytes < 300; bytes++)
      assert_int_equal(qg_crc32c(0, data + offset, bytes), crc_by_definition(0, data + offset, bytes));
}

static void pieces_chain_to_the_whole(void **state)
{
  (void)state;
  unsigned char data[100];
  fill(data, sizeof data);
  uint32_t whole = qg_crc32c(0, data, sizeof data);
  for (size_t cut = 0; cut <= sizeof data; cut++)
    assert_int_equal(qg_crc32c(qg_crc32c(0, data, cut), data + cut, sizeof data - cut), whole);
}

static void each_flipped_bit_is_seen(void **state)
{
  (void)state;
  unsigned char data[64];
  fill(data, sizeof data);
  uint32_t good = qg_crc32c(0, data, sizeof data);
  for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
    data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    assert_int_not_equal(qg_crc32c(0, data, sizeof data), good);
    data[bit / 8] ^= (unsigned char)(1u << bit % 8);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers),
      cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
      cmocka_unit_test(pieces_chain_to_the_whole),
      cmocka_unit_test(each_flipped_bit_is_seen),
  };
  return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
