/* Token files and batches: what is written is read back, and a batch is a function of the cursor alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fixtures/tolerances.h"
#include "qgalore/base.h"
#include "qgalore/data.h"

enum { SEED = 7, LENGTH = 8 };

/* The token file of a test, in a folder of its own. */
static char folder[256], path[300];

static int make_folder(void **state)
{
  (void)state;
  const char *parent = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/qgalore-tokens-XXXXXX", parent ? parent : "/tmp");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/tokens.h5", folder);
  return 0;
}

/* rmdir fails, and the test with it, when a temporary file was left behind. */
static int remove_folder(void **state)
{
  (void)state;
  unlink(path);
  return rmdir(folder);
}

static qg_tokens_writer *create(int64_t vocab_size)
{
  qg_tokens_header header = {.vocab_size = vocab_size, .tokenizer_hash = "0123abc", .provenance = "a test"};
  qg_tokens_writer *writer;
  assert_int_equal(qg_tokens_create(path, &header, &writer), QG_OK);
  return writer;
}

/* One document of tokens 0, 1, 2, ... modulo the vocabulary. */
static void write_ramp(int64_t count, int64_t vocab_size)
{
  qg_tokens_writer *writer = create(vocab_size);
  for (int64_t i = 0; i < count; i++) {
    int32_t id = (int32_t)(i % vocab_size);
    assert_int_equal(qg_tokens_extend(writer, &id, 1, 3), QG_OK);
  }
  assert_int_equal(qg_tokens_finish(writer), QG_OK);
}

static qg_tokens *open_tokens(const char *name, int64_t vocab_size)
{
  qg_tokens *tokens;
  assert_int_equal(qg_tokens_open(name, vocab_size, SEED, &tokens), QG_OK);
  return tokens;
}

static qg_tokens *open_ramp(int64_t count, int64_t vocab_size)
{
  write_ramp(count, vocab_size);
  return open_tokens(path, vocab_size);
}

static void documents_and_header_come_back(void **state)
{
  (void)state;
  const int32_t first[] = {5, 4, 3}, second[] = {70000, 0}, more[] = {1, 99999};
  qg_tokens_writer *writer = create(100000);
  assert_int_equal(qg_tokens_append(writer, first, 3, 11), QG_OK);
  assert_int_equal(qg_tokens_append(writer, NULL, 0, 0), QG_OK);
  assert_int_equal(qg_tokens_append(writer, second, 2, 7), QG_OK);
  assert_int_equal(qg_tokens_extend(writer, more, 2, 5), QG_OK);
  assert_int_equal(qg_tokens_finish(writer), QG_OK);

  qg_tokens *tokens = open_tokens(path, 100000);
  const qg_tokens_info *info = qg_tokens_get_info(tokens);
  assert_int_equal(info->tokens, 7);
  assert_int_equal(info->documents, 2);
  assert_int_equal(info->vocab_size, 100000);
  assert_int_equal(info->text_bytes, 23);
  assert_string_equal(info->tokenizer_hash, "0123abc");
  const int32_t expected[] = {5, 4, 3, 70000, 0, 1, 99999};
  int32_t ids[7];
  assert_int_equal(qg_tokens_read(tokens, 0, 7, ids), QG_OK);
  assert_memory_equal(ids, expected, sizeof expected);
  qg_tokens_close(tokens);
}

/* 65536 ids are the most that 16 bits hold; both widths over more than one checksum block. */
static void both_widths_come_back_over_several_blocks(void **state)
{
  (void)state;
  const int64_t vocabularies[] = {65536, 65537};
  const int64_t count = (1 << 20) + 70001;
  for (int v = 0; v < QG_COUNT_OF(vocabularies); v++) {
    qg_tokens *tokens = open_ramp(count, vocabularies[v]);
    int32_t *ids = calloc((size_t)count, sizeof *ids);
    assert_non_null(ids);
    assert_int_equal(qg_tokens_read(tokens, 0, count, ids), QG_OK);
    for (int64_t i = 0; i < count; i++) assert_int_equal(ids[i], i % vocabularies[v]);
    assert_int_equal(qg_tokens_read(tokens, (1 << 20) - 1, 3, ids), QG_OK);
    for (int64_t i = 0; i < 3; i++) assert_int_equal(ids[i], ((1 << 20) - 1 + i) % vocabularies[v]);
    free(ids);
    qg_tokens_close(tokens);
  }
}

static void the_same_text_gives_the_same_bytes(void **state)
{
  (void)state;
  char *bytes[2];
  long sizes[2];
  setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
  for (int i = 0; i < 2; i++) {
    write_ramp(1000, 50);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    sizes[i] = ftell(file);
    rewind(file);
    bytes[i] = malloc((size_t)sizes[i]);
    assert_int_equal(fread(bytes[i], 1, (size_t)sizes[i], file), sizes[i]);
    fclose(file);
  }
  unsetenv("SOURCE_DATE_EPOCH");
  assert_int_equal(sizes[0], sizes[1]);
  assert_memory_equal(bytes[0], bytes[1], (size_t)sizes[0]);
  free(bytes[0]);
  free(bytes[1]);
}

static void reading_past_the_end_is_refused(void **state)
{
  (void)state;
  qg_tokens *tokens = open_ramp(10, 10);
  int32_t ids[4];
  assert_int_equal(qg_tokens_read(tokens, 7, 3, ids), QG_OK);
  assert_int_equal(qg_tokens_read(tokens, 7, 4, ids), QG_ERR_INPUT);
  assert_int_equal(qg_tokens_read(tokens, -1, 1, ids), QG_ERR_INPUT);
  assert_int_equal(qg_tokens_read(tokens, INT64_MAX, INT64_MAX, ids), QG_ERR_INPUT);
  qg_tokens_close(tokens);
}

static void an_empty_or_discarded_file_is_not_written_and_an_older_one_stays(void **state)
{
  (void)state;
  const int32_t bad = 10;
  assert_int_equal(qg_tokens_finish(create(10)), QG_ERR_INPUT);
  assert_int_not_equal(access(path, F_OK), 0);
  write_ramp(10, 10);
  qg_tokens_writer *writer = create(10);
  assert_int_equal(qg_tokens_append(writer, &bad, 1, 1), QG_ERR_INPUT);
  qg_tokens_discard(writer);
  assert_int_equal(qg_tokens_finish(create(10)), QG_ERR_INPUT);
  qg_tokens_close(open_tokens(path, 10));
}

static void a_folder_that_cannot_be_written_is_a_resource_error(void **state)
{
  (void)state;
  qg_tokens_header header = {.vocab_size = 10};
  qg_tokens_writer *writer;
  assert_int_equal(qg_tokens_create("no/such/folder/x.h5", &header, &writer), QG_ERR_RESOURCE);
  assert_null(writer);
  assert_non_null(strstr(qg_error_message(), "no/such/folder/x.h5"));
}

static void random_tokens_are_keyed_by_seed_and_position(void **state)
{
  (void)state;
  enum { COUNT = 10000, VOCAB = 32000 };
  static int32_t ids[COUNT], other[COUNT];
  qg_tokens *tokens = open_tokens("random:10000", VOCAB), *second;
  assert_int_equal(qg_tokens_get_info(tokens)->tokens, COUNT);
  assert_int_equal(qg_tokens_read(tokens, 0, COUNT, ids), QG_OK);
  double mean = 0.0;
  for (int i = 0; i < COUNT; i++) {
    assert_in_range(ids[i], 0, VOCAB - 1);
    mean += ids[i] / (double)COUNT;
  }
  /* The standard error of the mean is VOCAB / sqrt(12 COUNT) = 92; five of them. */
  assert_true(fabs(mean - (VOCAB - 1) / 2.0) < 5 * 92.4);
  for (int first = 4321; first < 4326; first++) {
    assert_int_equal(qg_tokens_read(tokens, first, 99, other), QG_OK);
    assert_memory_equal(other, ids + first, 99 * sizeof *ids);
  }
  assert_int_equal(qg_tokens_open("random:10000", VOCAB, SEED + 1, &second), QG_OK);
  assert_int_equal(qg_tokens_read(second, 0, COUNT, other), QG_OK);
  assert_memory_not_equal(ids, other, sizeof ids);
  qg_tokens_close(second);
  qg_tokens_close(tokens);
}

static void random_needs_a_positive_number_and_a_vocabulary(void **state)
{
  (void)state;
  const char *const bad[] = {"random:",    "random:0",   "random:-5",
                             "random:12x", "random: 12", "random:99999999999999999999"};
  qg_tokens *tokens;
  for (int i = 0; i < QG_COUNT_OF(bad); i++) {
    assert_int_equal(qg_tokens_open(bad[i], 100, SEED, &tokens), QG_ERR_INPUT);
    assert_null(tokens);
  }
  assert_int_equal(qg_tokens_open("random:10", 0, SEED, &tokens), QG_ERR_INPUT);
}

static void sequences_overlap_by_the_one_token_that_is_only_a_target(void **state)
{
  (void)state;
  qg_tokens *tokens = open_ramp(4 * LENGTH, 100);
  assert_int_equal(qg_tokens_sequences(tokens, LENGTH), 3);
  qg_tokens_close(tokens);
  tokens = open_ramp(4 * LENGTH + 1, 100);
  assert_int_equal(qg_tokens_sequences(tokens, LENGTH), 4);
  qg_tokens_close(tokens);
}

static void targets_are_the_inputs_one_position_later(void **state)
{
  (void)state;
  enum { SEQUENCES = 20 };
  qg_tokens *tokens = open_ramp(SEQUENCES * LENGTH + 1, 1000);
  int32_t inputs[SEQUENCES * LENGTH], targets[SEQUENCES * LENGTH];
  assert_int_equal(qg_batch_read(tokens, SEED, 0, SEQUENCES, LENGTH, inputs, targets), QG_OK);
  int64_t sum = 0;
  for (int s = 0; s < SEQUENCES; s++) {
    assert_int_equal(inputs[s * LENGTH], qg_shuffle(SEED, 0, SEQUENCES, s) * LENGTH);
    for (int i = 0; i < LENGTH; i++) {
      assert_int_equal(inputs[s * LENGTH + i], inputs[s * LENGTH] + i);
      assert_int_equal(targets[s * LENGTH + i], inputs[s * LENGTH + i] + 1);
      sum += inputs[s * LENGTH + i];
    }
  }
  /* Every token of the file but the last is an input once. */
  assert_int_equal(sum, SEQUENCES * LENGTH * (SEQUENCES * LENGTH - 1) / 2);
  qg_tokens_close(tokens);
}

static void a_batch_is_the_same_however_it_is_cut(void **state)
{
  (void)state;
  enum { SEQUENCES = 60 };
  qg_tokens *tokens = open_ramp(23 * LENGTH + 5, 1000);
  int32_t whole[SEQUENCES * LENGTH], whole_targets[SEQUENCES * LENGTH], part[SEQUENCES * LENGTH];
  assert_int_equal(qg_batch_read(tokens, SEED, 11, SEQUENCES, LENGTH, whole, whole_targets), QG_OK);
  for (int cut = 1; cut <= SEQUENCES; cut++)
    for (int first = 0; first + cut <= SEQUENCES; first += cut) {
      size_t bytes = (size_t)cut * LENGTH * sizeof *part;
      assert_int_equal(qg_batch_read(tokens, SEED, 11 + first, cut, LENGTH, part, NULL), QG_OK);
      assert_memory_equal(part, whole + first * LENGTH, bytes);
      assert_int_equal(qg_batch_read(tokens, SEED, 11 + first, cut, LENGTH, NULL, part), QG_OK);
      assert_memory_equal(part, whole_targets + first * LENGTH, bytes);
    }
  qg_tokens_close(tokens);
}

/* 5 sequences: the batch that goes over the end begins the next epoch in that epoch's own order. */
static void a_batch_wraps_into_the_next_epoch(void **state)
{
  (void)state;
  enum { COUNT = 5, BATCH = 3, BATCHES = 5 };
  qg_tokens *tokens = open_ramp(COUNT * LENGTH + 3, 1000);
  int32_t inputs[BATCH * LENGTH];
  int seen[3][COUNT] = {{0}};
  for (int64_t b = 0; b < BATCHES; b++) {
    assert_int_equal(qg_batch_read(tokens, SEED, b * BATCH, BATCH, LENGTH, inputs, NULL), QG_OK);
    for (int64_t i = 0; i < BATCH; i++) {
      int64_t number = b * BATCH + i, epoch = number / COUNT;
      assert_int_equal(inputs[i * LENGTH], qg_shuffle(SEED, epoch, COUNT, number % COUNT) * LENGTH);
      seen[epoch][inputs[i * LENGTH] / LENGTH]++;
    }
  }
  for (int epoch = 0; epoch < 3; epoch++)
    for (int s = 0; s < COUNT; s++) assert_int_equal(seen[epoch][s], 1);
  qg_tokens_close(tokens);
}

static void a_file_shorter_than_a_sequence_is_an_input_error(void **state)
{
  (void)state;
  qg_tokens *tokens = open_ramp(LENGTH, 1000);
  int32_t inputs[LENGTH];
  assert_int_equal(qg_batch_read(tokens, SEED, 0, 1, LENGTH, inputs, NULL), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "sequence_length"));
  qg_tokens_close(tokens);
}

static void validation_reads_in_file_order_and_pads_with_ignored_targets(void **state)
{
  (void)state;
  enum { SEQUENCES = 4 };
  qg_tokens *tokens = open_ramp(6 * LENGTH + 4, 1000);
  int32_t inputs[SEQUENCES * LENGTH], targets[SEQUENCES * LENGTH];
  int64_t counted;
  assert_int_equal(qg_batch_read_in_order(tokens, 4, SEQUENCES, SEQUENCES, LENGTH, inputs, targets, &counted), QG_OK);
  assert_int_equal(counted, 2 * LENGTH);
  for (int i = 0; i < SEQUENCES * LENGTH; i++) {
    assert_int_equal(inputs[i], i < counted ? 4 * LENGTH + i : 0);
    assert_int_equal(targets[i], i < counted ? 4 * LENGTH + i + 1 : -1);
  }
  assert_int_equal(qg_batch_read_in_order(tokens, 6, SEQUENCES, SEQUENCES, LENGTH, inputs, targets, &counted), QG_OK);
  assert_int_equal(counted, 0);
  for (int i = 0; i < SEQUENCES * LENGTH; i++) assert_int_equal(targets[i], -1);
  assert_int_equal(qg_batch_read_in_order(tokens, 0, 3, SEQUENCES, LENGTH, inputs, targets, &counted), QG_OK);
  assert_int_equal(counted, 3 * LENGTH);
  for (int i = 0; i < SEQUENCES * LENGTH; i++) assert_int_equal(targets[i], i < counted ? i + 1 : -1);
  qg_tokens_close(tokens);
}

/* Ids 0, 1, 2 with shares 1/2, 1/4, 1/4: H = 1/2 ln 2 + 2 * 1/4 ln 4 = 1.5 ln 2. */
static void entropy_is_that_of_the_shares(void **state)
{
  (void)state;
  const int32_t ids[] = {0, 1, 0, 2, 0, 1, 0, 2};
  qg_tokens_writer *writer = create(10);
  assert_int_equal(qg_tokens_append(writer, ids, 8, 8), QG_OK);
  assert_int_equal(qg_tokens_finish(writer), QG_OK);
  qg_tokens *tokens = open_tokens(path, 10);
  double entropy;
  assert_int_equal(qg_tokens_unigram_entropy(tokens, 100, &entropy), QG_OK);
  assert_true(QG_CLOSE(entropy, 1.5 * log(2.0), QG_TOL_F64_SUM));
  qg_tokens_close(tokens);
}

static void entropy_of_one_token_is_zero_and_of_equal_shares_the_logarithm(void **state)
{
  (void)state;
  double entropy;
  qg_tokens *tokens = open_ramp(40000, 1);
  assert_int_equal(qg_tokens_unigram_entropy(tokens, INT64_MAX, &entropy), QG_OK);
  assert_true(entropy == 0.0);
  qg_tokens_close(tokens);
  tokens = open_ramp(40000, 1000);
  assert_int_equal(qg_tokens_unigram_entropy(tokens, INT64_MAX, &entropy), QG_OK);
  assert_true(QG_CLOSE(entropy, log(1000.0), QG_TOL_F64_SUM));
  qg_tokens_close(tokens);
}

static void closing_nothing_is_allowed_and_the_buffer_is_counted(void **state)
{
  (void)state;
  qg_tokens_close(NULL);
  qg_tokens_discard(NULL);
  assert_in_range(qg_tokens_buffer_bytes(), 1 << 14, 1 << 20);
}

#define ON_A_FILE(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
  const struct CMUnitTest tests[] = {
      ON_A_FILE(documents_and_header_come_back),
      ON_A_FILE(both_widths_come_back_over_several_blocks),
      ON_A_FILE(the_same_text_gives_the_same_bytes),
      ON_A_FILE(reading_past_the_end_is_refused),
      ON_A_FILE(an_empty_or_discarded_file_is_not_written_and_an_older_one_stays),
      cmocka_unit_test(a_folder_that_cannot_be_written_is_a_resource_error),
      cmocka_unit_test(random_tokens_are_keyed_by_seed_and_position),
      cmocka_unit_test(random_needs_a_positive_number_and_a_vocabulary),
      ON_A_FILE(sequences_overlap_by_the_one_token_that_is_only_a_target),
      ON_A_FILE(targets_are_the_inputs_one_position_later),
      ON_A_FILE(a_batch_is_the_same_however_it_is_cut),
      ON_A_FILE(a_batch_wraps_into_the_next_epoch),
      ON_A_FILE(a_file_shorter_than_a_sequence_is_an_input_error),
      ON_A_FILE(validation_reads_in_file_order_and_pads_with_ignored_targets),
      ON_A_FILE(entropy_is_that_of_the_shares),
      ON_A_FILE(entropy_of_one_token_is_zero_and_of_equal_shares_the_logarithm),
      cmocka_unit_test(closing_nothing_is_allowed_and_the_buffer_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
