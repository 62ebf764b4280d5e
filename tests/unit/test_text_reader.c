/* Texts as documents: what separates them, how long ones are cut, and what is not UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/text_reader.h"
#include "qgalore/base.h"

enum { MOST = 1 << 16 };

/* What the sink received: pieces in parentheses, a '|' after each document. */
typedef struct {
  char text[MOST];
  size_t longest;
  int fail_at; /* the piece, from 1, that the sink refuses; 0: none */
  int pieces;
} record;

static qg_status take_piece(void *context, const char *text, size_t bytes)
{
  record *seen = context;
  size_t used = strlen(seen->text);
  snprintf(seen->text + used, sizeof seen->text - used, "(%.*s)", (int)bytes, text);
  seen->longest = bytes > seen->longest ? bytes : seen->longest;
  seen->pieces++;
  QG_CHECK(seen->pieces != seen->fail_at, QG_ERR_RUNTIME, "refused");
  return QG_OK;
}

static qg_status take_end(void *context)
{
  record *seen = context;
  strcat(seen->text, "|");
  return QG_OK;
}

static qg_status read_text(const char *text, qg_text_split split, size_t piece_bytes, record *seen)
{
  char path[300];
  const char *parent = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/qgalore-text-XXXXXX", parent ? parent : "/tmp");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  qg_text_options options = {.split = split, .marker = "%%", .piece_bytes = piece_bytes};
  qg_text_sink sink = {.context = seen, .piece = take_piece, .end = take_end};
  qg_status status = qg_text_read(path, &options, sink);
  unlink(path);
  return status;
}

static void expect_documents(const char *text, qg_text_split split, size_t piece_bytes, const char *expected)
{
  record seen = {.fail_at = 0};
  assert_int_equal(read_text(text, split, piece_bytes, &seen), QG_OK);
  assert_string_equal(seen.text, expected);
}

static void a_file_is_one_document_with_every_byte(void **state)
{
  (void)state;
  expect_documents("a\n\n%%\n b\r\nc", QG_SPLIT_FILE, 100, "(a\n\n%%\n b\r\nc)|");
}

static void marker_lines_separate_documents(void **state)
{
  (void)state;
  expect_documents("a\n\nb\n%%\nc\n%%\r\nd", QG_SPLIT_DOCUMENT, 100, "(a\n\nb\n)|(c\n)|(d)|");
  expect_documents("a %%\n%%b\n%%", QG_SPLIT_DOCUMENT, 100, "(a %%\n%%b\n)|");
}

static void blank_lines_separate_paragraphs(void **state)
{
  (void)state;
  expect_documents("a\nb\n\nc\n \t\n\n\r\nd\n", QG_SPLIT_PARAGRAPH, 100, "(a\nb\n)|(c\n)|(d\n)|");
}

static void documents_of_white_space_are_left_out(void **state)
{
  (void)state;
  expect_documents("", QG_SPLIT_FILE, 100, "");
  expect_documents(" \n\t\n", QG_SPLIT_FILE, 100, "");
  expect_documents("%%\n\n%%\na\n%%\n%%\n", QG_SPLIT_DOCUMENT, 100, "(a\n)|");
}

static void long_documents_are_cut_before_line_ends_then_spaces_then_characters(void **state)
{
  (void)state;
  expect_documents("one\ntwo\nthree\n", QG_SPLIT_FILE, 9, "(one\ntwo)(\nthree\n)|");
  expect_documents("one two three", QG_SPLIT_FILE, 9, "(one two)( three)|");
  expect_documents("abcdefgh", QG_SPLIT_FILE, 3, "(abc)(def)(gh)|");
  /* Characters of two bytes do not fit evenly into three. */
  expect_documents("\xc3\xa9\xc3\xa8\xc3\xa0", QG_SPLIT_FILE, 3, "(\xc3\xa9)(\xc3\xa8)(\xc3\xa0)|");
}

static void no_piece_is_longer_than_allowed(void **state)
{
  (void)state;
  static char text[20001];
  memset(text, 'x', sizeof text - 1);
  for (size_t i = 0; i < sizeof text - 1; i += 1 + i % 37) text[i] = i % 3 ? ' ' : '\n';
  record seen = {.fail_at = 0};
  assert_int_equal(read_text(text, QG_SPLIT_FILE, 50, &seen), QG_OK);
  assert_in_range(seen.longest, 40, 50);
}

static void a_failure_of_the_receiver_ends_the_reading(void **state)
{
  (void)state;
  record seen = {.fail_at = 2};
  assert_int_equal(read_text("aa\nbb\ncc\ndd\n", QG_SPLIT_FILE, 3, &seen), QG_ERR_RUNTIME);
  assert_int_equal(seen.pieces, 2);
}

static void text_that_is_not_utf8_is_refused_with_its_place(void **state)
{
  (void)state;
  record seen = {.fail_at = 0};
  assert_int_equal(read_text("good\nba\xff\n", QG_SPLIT_FILE, 100, &seen), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), ":2: byte 3"));
}

static void utf8_is_valid_as_in_rfc_3629(void **state)
{
  (void)state;
  static const char *const valid[] = {"",
                                      "a",
                                      "\xc2\x80",
                                      "\xdf\xbf",
                                      "\xe0\xa0\x80",
                                      "\xed\x9f\xbf",
                                      "\xee\x80\x80",
                                      "\xf0\x90\x80\x80",
                                      "\xf4\x8f\xbf\xbf"};
  static const char *const invalid[] = {"\x80",
                                        "\xc1\xbf",
                                        "\xc2",
                                        "\xc2\x41",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xe2\x82",
                                        "\xe2\x82\x41",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff"};
  for (int i = 0; i < QG_COUNT_OF(valid); i++)
    assert_int_equal(qg_utf8_valid_bytes(valid[i], strlen(valid[i])), strlen(valid[i]));
  for (int i = 0; i < QG_COUNT_OF(invalid); i++)
    assert_int_equal(qg_utf8_valid_bytes(invalid[i], strlen(invalid[i])), 0);
  assert_int_equal(qg_utf8_valid_bytes("ab\xe2\x82", 4), 2);
}

static void a_missing_text_is_an_input_error(void **state)
{
  (void)state;
  qg_text_options options = {.piece_bytes = 100};
  assert_int_equal(qg_text_read("no-such-text.txt", &options, (qg_text_sink){0}), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "no-such-text.txt"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_is_one_document_with_every_byte),
      cmocka_unit_test(marker_lines_separate_documents),
      cmocka_unit_test(blank_lines_separate_paragraphs),
      cmocka_unit_test(documents_of_white_space_are_left_out),
      cmocka_unit_test(long_documents_are_cut_before_line_ends_then_spaces_then_characters),
      cmocka_unit_test(no_piece_is_longer_than_allowed),
      cmocka_unit_test(a_failure_of_the_receiver_ends_the_reading),
      cmocka_unit_test(text_that_is_not_utf8_is_refused_with_its_place),
      cmocka_unit_test(utf8_is_valid_as_in_rfc_3629),
      cmocka_unit_test(a_missing_text_is_an_input_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
