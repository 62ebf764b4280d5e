/* Token files that are missing, foreign, truncated, damaged or hostile: each is refused as input, with the
 * path and the trouble in the message, and none of them ends the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "qgalore/data.h"

enum { TOKENS = (1 << 20) + 5000, VOCAB = 3000 };

static char folder[256], path[300];

/* Two documents over two checksum blocks: ids 0, 1, 2, ... modulo the vocabulary. */
static int write_good_file(void)
{
  qg_tokens_header header = {.vocab_size = VOCAB, .tokenizer_hash = "abc", .provenance = "a test"};
  qg_tokens_writer *writer;
  if (qg_tokens_create(path, &header, &writer) != QG_OK) return -1;
  for (int32_t i = 0; i < TOKENS; i++) {
    int32_t id = i % VOCAB;
    qg_status status = i == 1000 ? qg_tokens_append(writer, &id, 1, 4) : qg_tokens_extend(writer, &id, 1, 4);
    if (status != QG_OK) return -1;
  }
  return qg_tokens_finish(writer) == QG_OK ? 0 : -1;
}

static int make_file(void **state)
{
  (void)state;
  const char *parent = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/qgalore-damage-XXXXXX", parent ? parent : "/tmp");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/tokens.h5", folder);
  return write_good_file();
}

static int remove_file(void **state)
{
  (void)state;
  unlink(path);
  return rmdir(folder);
}

static void expect_refusal_for(int64_t vocab_size, const char *said)
{
  qg_tokens *tokens;
  qg_status status = qg_tokens_open(path, vocab_size, 1, &tokens);
  if (status == QG_OK) status = qg_tokens_check(tokens);
  else
    assert_null(tokens);
  qg_tokens_close(tokens);
  assert_int_equal(status, QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), path));
  if (!strstr(qg_error_message(), said)) fail_msg("'%s' is not in: %s", said, qg_error_message());
}

static void expect_refusal(const char *said)
{
  expect_refusal_for(VOCAB, said);
}

static hid_t open_file(void)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

/* Overwrites bytes of a dataset behind HDF5's back, as a bad disk would. */
static void poke(const char *name, int64_t offset, const void *bytes, size_t count)
{
  hid_t file = open_file(), dataset = H5Dopen2(file, name, H5P_DEFAULT);
  haddr_t start = H5Dget_offset(dataset);
  H5Dclose(dataset);
  H5Fclose(file);
  int fd = open(path, O_WRONLY);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, bytes, count, (off_t)start + offset), count);
  close(fd);
}

static void put_attribute(const char *name, hid_t type, int count, const void *value)
{
  hid_t file = open_file();
  hsize_t size = (hsize_t)count;
  H5Adelete(file, name);
  hid_t space = count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &size, NULL);
  hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(attribute >= 0 && H5Awrite(attribute, type, value) >= 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Fclose(file);
}

static void put_integer(const char *name, int64_t value)
{
  put_attribute(name, H5T_NATIVE_INT64, 1, &value);
}

static void put_text(const char *name, const char *text)
{
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, strlen(text) + 1);
  put_attribute(name, type, 1, text);
  H5Tclose(type);
}

/* Replaces a dataset by one of zeros; `chunk` > 0 makes it chunked. */
static void put_dataset(const char *name, hid_t type, int rank, hsize_t count, hsize_t chunk)
{
  hid_t file = open_file();
  hsize_t size[2] = {count, 1}, chunks[2] = {chunk, 1};
  H5Ldelete(file, name, H5P_DEFAULT);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (chunk > 0) H5Pset_chunk(properties, rank, chunks);
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  hid_t space = H5Screate_simple(rank, size, NULL);
  hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  assert_true(dataset >= 0);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(file);
}

static void the_undamaged_file_is_accepted(void **state)
{
  (void)state;
  qg_tokens *tokens;
  assert_int_equal(qg_tokens_open(path, VOCAB, 1, &tokens), QG_OK);
  assert_int_equal(qg_tokens_get_info(tokens)->documents, 2);
  qg_tokens_close(tokens);
  assert_int_equal(qg_tokens_open(path, 0, 1, &tokens), QG_OK);
  qg_tokens_close(tokens);
}

static void a_missing_file_a_folder_and_a_text_are_refused(void **state)
{
  (void)state;
  unlink(path);
  expect_refusal("No such file");
  assert_int_equal(mkdir(path, 0777), 0);
  expect_refusal("not a regular file");
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(qg_write_file_atomic(path, "It was the best of times", 24), QG_OK);
  expect_refusal("not an HDF5 file");
  assert_int_equal(qg_write_file_atomic(path, "", 0), QG_OK);
  expect_refusal("not an HDF5 file");
}

static void a_truncated_file_is_refused_wherever_it_was_cut(void **state)
{
  (void)state;
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  const off_t left[] = {info.st_size - 1, info.st_size / 2, 4096, 600, 100, 9};
  for (int i = 0; i < QG_COUNT_OF(left); i++) {
    assert_int_equal(truncate(path, left[i]), 0);
    expect_refusal("tokens.h5");
  }
}

static void a_flipped_bit_is_found_and_its_block_named(void **state)
{
  (void)state;
  const unsigned char flipped = 1;
  poke("tokens", 2 * ((1 << 20) + 3000), &flipped, 1);
  /* The block of 2^12 tokens that holds it, and no other. */
  expect_refusal("tokens 1048576 to 1052671 are damaged");
  qg_tokens *tokens;
  int32_t ids[8];
  assert_int_equal(qg_tokens_open(path, VOCAB, 1, &tokens), QG_OK);
  assert_int_equal(qg_tokens_read(tokens, 1048570, 6, ids), QG_OK);
  assert_int_equal(qg_tokens_read(tokens, 1048570, 7, ids), QG_ERR_INPUT);
  assert_int_equal(qg_tokens_read(tokens, 1052672, 8, ids), QG_OK);
  qg_tokens_close(tokens);
}

static void a_wrong_checksum_is_found(void **state)
{
  (void)state;
  const uint32_t wrong = 12345;
  qg_tokens *tokens;
  int32_t id;
  poke("tokens.crc32c", 0, &wrong, sizeof wrong);
  expect_refusal("its checksums are damaged");
  assert_int_equal(qg_tokens_open(path, VOCAB, 1, &tokens), QG_OK);
  assert_int_equal(qg_tokens_read(tokens, 0, 1, &id), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "tokens 0 to 4095 are damaged (CRC32C"));
  qg_tokens_close(tokens);
}

static void an_id_outside_the_models_vocabulary_is_named_with_its_first_position(void **state)
{
  (void)state;
  expect_refusal_for(VOCAB - 1, "token 2999 at position 2999 is outside the vocabulary of 2999");
  expect_refusal_for(10, "token 10 at position 10 ");
}

static void an_id_outside_the_files_own_vocabulary_is_refused(void **state)
{
  (void)state;
  put_integer("vocab_size", 2500);
  expect_refusal("token 2500 at position 2500 is outside the vocabulary of 2500");
}

static void a_foreign_or_newer_or_unfinished_file_is_refused(void **state)
{
  (void)state;
  put_integer("complete", 0);
  expect_refusal("did not finish");
  put_integer("format_version", 3);
  expect_refusal("format version 3");
  put_text("format", "qgalore-checkpoint");
  expect_refusal("the format is 'qgalore-checkpoint'");
}

static void hostile_attributes_are_refused(void **state)
{
  (void)state;
  char *huge = calloc(60000, 1);
  assert_non_null(huge);
  memset(huge, 'x', 59999);
  const int64_t pair[] = {1, 1};
  put_text("tokenizer_hash", huge);
  expect_refusal("tokenizer_hash");
  put_integer("text_bytes", -1);
  expect_refusal("text_bytes");
  put_integer("vocab_size", INT64_MAX);
  expect_refusal("vocab_size");
  put_integer("vocab_size", 0);
  expect_refusal("vocab_size");
  put_attribute("complete", H5T_NATIVE_INT64, 2, pair);
  expect_refusal("complete");
  put_text("format_version", "one");
  expect_refusal("format_version");
  put_integer("format", 1);
  expect_refusal("attribute format");
  put_text("format", huge);
  expect_refusal("attribute format");
  free(huge);
}

static void a_text_of_variable_length_is_refused(void **state)
{
  (void)state;
  const char *text = "qgalore-tokens";
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  put_attribute("format", type, 1, &text);
  H5Tclose(type);
  expect_refusal("fixed-length");
}

static void datasets_of_the_wrong_kind_are_refused(void **state)
{
  (void)state;
  put_dataset("tokens", H5T_STD_I32LE, 1, TOKENS, 0);
  expect_refusal("dataset tokens is not one-dimensional of type u16 or u32");
  put_dataset("tokens", H5T_STD_U16BE, 1, TOKENS, 0);
  expect_refusal("dataset tokens is not one-dimensional of type u16 or u32");
  put_dataset("tokens", H5T_STD_U16LE, 2, TOKENS, 0);
  expect_refusal("dataset tokens is not one-dimensional");
  put_dataset("tokens", H5T_STD_U16LE, 1, TOKENS, 1000);
  expect_refusal("dataset tokens is chunked");
  put_dataset("tokens", H5T_STD_U16LE, 1, 0, 0);
  expect_refusal("dataset tokens of 0 elements is empty");
}

static void a_dataset_that_is_missing_is_named(void **state)
{
  (void)state;
  const char *const names[] = {"tokens.crc32c", "documents", "tokens"};
  for (int i = 0; i < QG_COUNT_OF(names); i++) {
    char said[64];
    hid_t file = open_file();
    H5Ldelete(file, names[i], H5P_DEFAULT);
    H5Fclose(file);
    snprintf(said, sizeof said, "no dataset %s", names[i]);
    expect_refusal(said);
  }
}

static void checksums_that_do_not_match_the_tokens_in_number_are_refused(void **state)
{
  (void)state;
  put_dataset("tokens.crc32c", H5T_STD_U32LE, 1, 3, 0);
  expect_refusal("tokens.crc32c has 3 checksums, 1053576 tokens need 258");
}

static void document_offsets_have_to_increase_from_zero_within_the_tokens(void **state)
{
  (void)state;
  const int64_t bad[][2] = {{1, 1000}, {0, 0}, {0, -5}, {0, TOKENS}, {0, INT64_MAX}};
  for (int i = 0; i < QG_COUNT_OF(bad); i++) {
    poke("documents", 0, bad[i], sizeof bad[i]);
    expect_refusal(bad[i][0] == 1 ? "document 0 starts at token 1," : "document 1 starts at token");
  }
}

/* The size of a contiguous dataset in its header, set to more than the address space: no allocation follows
 * from it. */
static void a_hostile_size_is_refused(void **state)
{
  (void)state;
  const uint64_t honest = TOKENS, hostile = UINT64_MAX / 2;
  struct stat info;
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0 && fstat(fd, &info) == 0);
  unsigned char *bytes = malloc((size_t)info.st_size);
  assert_int_equal(pread(fd, bytes, (size_t)info.st_size, 0), info.st_size);
  int replaced = 0;
  for (off_t at = 0; at + 8 <= info.st_size; at++)
    if (memcmp(bytes + at, &honest, 8) == 0) replaced += pwrite(fd, &hostile, 8, at) == 8;
  free(bytes);
  close(fd);
  assert_true(replaced > 0);
  expect_refusal("goes past the end of the file");
}

static void a_file_that_shrinks_while_it_is_open_is_an_error_and_no_signal(void **state)
{
  (void)state;
  qg_tokens *tokens;
  int32_t ids[10];
  assert_int_equal(qg_tokens_open(path, VOCAB, 1, &tokens), QG_OK);
  assert_int_equal(truncate(path, 8192), 0);
  assert_int_equal(qg_tokens_read(tokens, TOKENS - 10, 10, ids), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "shorter"));
  qg_tokens_close(tokens);
}

/* A file of a terabyte, most of which was never written: opening reads a few attributes and none of it. */
static void opening_reads_no_tokens_of_a_terabyte(void **state)
{
  (void)state;
  const hsize_t tokens_of_a_terabyte = (hsize_t)1 << 39;
  qg_tokens *tokens;
  int32_t id;
  hid_t file = open_file(), properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
  const struct {
    const char *name;
    hid_t type;
    hsize_t count;
  } sparse[] = {{"tokens", H5T_STD_U16LE, tokens_of_a_terabyte},
                {"tokens.crc32c", H5T_STD_U32LE, tokens_of_a_terabyte >> 12}};
  for (int i = 0; i < QG_COUNT_OF(sparse); i++) {
    H5Ldelete(file, sparse[i].name, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &sparse[i].count, NULL);
    H5Dclose(H5Dcreate2(file, sparse[i].name, sparse[i].type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
    H5Sclose(space);
  }
  H5Pclose(properties);
  H5Fclose(file);
  size_t before = qg_memory_resident();
  assert_int_equal(qg_tokens_open(path, VOCAB, 1, &tokens), QG_OK);
  assert_int_equal(qg_tokens_get_info(tokens)->tokens, tokens_of_a_terabyte);
  assert_int_equal(qg_tokens_bytes_read(tokens), 0);
  assert_in_range(qg_memory_resident() - before, 0, 50 << 20);
  /* The first read looks at one block and its checksum. */
  assert_int_equal(qg_tokens_read(tokens, (int64_t)1 << 38, 1, &id), QG_ERR_INPUT);
  assert_in_range(qg_tokens_bytes_read(tokens), 1, 3 * 8192);
  qg_tokens_close(tokens);
}

#define ON_A_FILE(test) cmocka_unit_test_setup_teardown(test, make_file, remove_file)

int main(void)
{
  const struct CMUnitTest tests[] = {
      ON_A_FILE(the_undamaged_file_is_accepted),
      ON_A_FILE(a_missing_file_a_folder_and_a_text_are_refused),
      ON_A_FILE(a_truncated_file_is_refused_wherever_it_was_cut),
      ON_A_FILE(a_flipped_bit_is_found_and_its_block_named),
      ON_A_FILE(a_wrong_checksum_is_found),
      ON_A_FILE(an_id_outside_the_models_vocabulary_is_named_with_its_first_position),
      ON_A_FILE(an_id_outside_the_files_own_vocabulary_is_refused),
      ON_A_FILE(a_foreign_or_newer_or_unfinished_file_is_refused),
      ON_A_FILE(hostile_attributes_are_refused),
      ON_A_FILE(a_text_of_variable_length_is_refused),
      ON_A_FILE(datasets_of_the_wrong_kind_are_refused),
      ON_A_FILE(a_dataset_that_is_missing_is_named),
      ON_A_FILE(checksums_that_do_not_match_the_tokens_in_number_are_refused),
      ON_A_FILE(document_offsets_have_to_increase_from_zero_within_the_tokens),
      ON_A_FILE(a_hostile_size_is_refused),
      ON_A_FILE(a_file_that_shrinks_while_it_is_open_is_an_error_and_no_signal),
      ON_A_FILE(opening_reads_no_tokens_of_a_terabyte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
