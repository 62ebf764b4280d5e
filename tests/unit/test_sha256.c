/* SHA-256 against the known answers of FIPS 180-4's examples and NIST's test vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sha256.h"
#include "qgalore/base.h"

static void expect_digest(const char *text, size_t bytes, const char *expected)
{
  char hex[QG_SHA256_HEX];
  qg_sha256 hash;
  qg_sha256_init(&hash);
  qg_sha256_update(&hash, text, bytes);
  qg_sha256_finish(&hash, hex);
  assert_string_equal(hex, expected);
}

static void short_messages_have_their_published_digests(void **state)
{
  (void)state;
  const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  expect_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect_digest(two_blocks, strlen(two_blocks),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void a_million_letters_fed_in_odd_pieces_have_the_published_digest(void **state)
{
  (void)state;
  char piece[997], hex[QG_SHA256_HEX];
  qg_sha256 hash;
  memset(piece, 'a', sizeof piece);
  qg_sha256_init(&hash);
  for (size_t left = 1000000; left > 0;) {
    size_t n = left < sizeof piece ? left : sizeof piece;
    qg_sha256_update(&hash, piece, n);
    left -= n;
  }
  qg_sha256_finish(&hash, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* 55, 56 and 64 bytes: the length fits into the last block, just not, and not at all. */
static void padding_is_right_at_the_edges_of_a_block(void **state)
{
  (void)state;
  char zeros[64] = {0};
  expect_digest(zeros, 55, "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
  expect_digest(zeros, 56, "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
  expect_digest(zeros, 64, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
}

static void a_file_is_hashed_whole_and_a_missing_one_is_an_input_error(void **state)
{
  (void)state;
  char path[] = "test-sha256-XXXXXX", hex[QG_SHA256_HEX];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "abc", 3), 3);
  close(fd);
  qg_status status = qg_sha256_file(path, hex);
  unlink(path);
  assert_int_equal(status, QG_OK);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(qg_sha256_file(path, hex), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), path));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_messages_have_their_published_digests),
      cmocka_unit_test(a_million_letters_fed_in_odd_pieces_have_the_published_digest),
      cmocka_unit_test(padding_is_right_at_the_edges_of_a_block),
      cmocka_unit_test(a_file_is_hashed_whole_and_a_missing_one_is_an_input_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
