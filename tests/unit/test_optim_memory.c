/* Memory: what the ledger counts is what the number formats cost, and steps take no more of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"

/* LLaMA-60M. */
static const qg_model_shape llama_60m = {.hidden_size = 512,
                                         .intermediate_size = 1376,
                                         .num_layers = 8,
                                         .num_heads = 8,
                                         .num_kv_heads = 8,
                                         .vocab_size = 32000};
enum {
  SQUARES = 8 * 4, /* q k v o */
  WIDES = 8 * 3,   /* gate up down */
  SQUARE = 512 * 512,
  WIDE = 512 * 1376,
  LINEAR = SQUARES * SQUARE + WIDES * WIDE,
  TABLES = 2 * 32000 * 512, /* embedding and head */
  NORMS = 17 * 512,
  RANK = 128,
  LOW_RANK = SQUARES * 512 * RANK + WIDES * 1376 * RANK, /* elements of R */
  BASES = (SQUARES + WIDES) * 512 * RANK
};

/* Bytes of one owner in a dry ledger. */
static size_t dry_bytes(qg_optim_options options, int64_t micro_batches, qg_owner owner)
{
  counting_backend counter;
  qg_partition part = whole(&llama_60m);
  qg_mem *dry;
  trained t;
  options.rank = RANK;
  counting_open(&counter, "fp32");
  assert_ok(qg_mem_create(NULL, &dry));
  qg_optim_request request = {
      .mem = dry, .be = &counter.be, .options = options, .tokens = 2048, .micro_batches = micro_batches};
  assert_ok(trained_create(&request, &llama_60m, &part, &t));
  size_t bytes = qg_mem_bytes(dry, owner);
  trained_destroy(&t);
  qg_mem_destroy(dry);
  qg_backend_close(counter.real);
  return bytes;
}

static qg_optim_options bf16_tables(qg_method method)
{
  qg_optim_options options = options_of(method);
  options.dense_type = QG_BF16;
  return options;
}

/* 1 byte a weight, f32 scale and u8 zero per 256: 1.0195 bytes. */
static void int8_weights_cost_one_byte_and_a_fiftieth(void **state)
{
  (void)state;
  size_t bytes = dry_bytes(bf16_tables(QG_METHOD_QGALORE), 1, QG_OWNER_WEIGHTS);
  assert_int_equal(bytes, LINEAR + LINEAR / 256 * 5 + 2 * (TABLES + NORMS));
}

static void dense_weights_cost_their_type(void **state)
{
  (void)state;
  assert_int_equal(dry_bytes(options_of(QG_METHOD_ADAMW), 1, QG_OWNER_WEIGHTS),
                   4 * (size_t)(LINEAR + TABLES + NORMS));
  assert_int_equal(dry_bytes(bf16_tables(QG_METHOD_ADAM8BIT), 1, QG_OWNER_WEIGHTS),
                   2 * (size_t)(LINEAR + TABLES + NORMS));
}

static void projectors_cost_half_a_byte_or_four(void **state)
{
  (void)state;
  assert_int_equal(dry_bytes(options_of(QG_METHOD_QGALORE), 1, QG_OWNER_PROJECTORS),
                   BASES / 2 + BASES / 256 * 5);
  assert_int_equal(dry_bytes(options_of(QG_METHOD_GALORE), 1, QG_OWNER_PROJECTORS), 4 * BASES);
  assert_int_equal(dry_bytes(options_of(QG_METHOD_ADAMW), 1, QG_OWNER_PROJECTORS), 0);
}

/* Two codes an element and two f32 per 256; norms (512 elements) keep two f32 each. */
static void moments_cost_two_bytes_or_eight(void **state)
{
  (void)state;
  size_t low = LOW_RANK, tables = TABLES, all = (size_t)LINEAR + TABLES;
  assert_int_equal(dry_bytes(options_of(QG_METHOD_QGALORE), 1, QG_OWNER_MOMENTS),
                   2 * (low + tables) + (low + tables) / 256 * 8 + 8 * NORMS);
  assert_int_equal(dry_bytes(options_of(QG_METHOD_ADAM8BIT), 1, QG_OWNER_MOMENTS),
                   2 * all + all / 256 * 8 + 8 * NORMS);
  assert_int_equal(dry_bytes(options_of(QG_METHOD_GALORE), 1, QG_OWNER_MOMENTS), 8 * (low + tables + NORMS));
  assert_int_equal(dry_bytes(options_of(QG_METHOD_ADAMW), 1, QG_OWNER_MOMENTS), 8 * (all + NORMS));
}

/* One micro-batch, or refreshes from the first one: G lies where weights are read. Else G of every projected
 * matrix. */
static void gradients_cost_the_low_rank_and_what_a_refresh_needs(void **state)
{
  (void)state;
  qg_optim_options batch = options_of(QG_METHOD_QGALORE), micro = batch;
  micro.sample = QG_SAMPLE_MICRO_BATCH;
  size_t accumulators = 4 * ((size_t)LOW_RANK + TABLES + NORMS);
  assert_int_equal(dry_bytes(batch, 1, QG_OWNER_GRADIENTS), accumulators);
  assert_int_equal(dry_bytes(micro, 4, QG_OWNER_GRADIENTS), accumulators);
  assert_int_equal(dry_bytes(batch, 4, QG_OWNER_GRADIENTS), accumulators + 4 * (size_t)LINEAR);
  assert_int_equal(dry_bytes(options_of(QG_METHOD_ADAMW), 4, QG_OWNER_GRADIENTS),
                   4 * ((size_t)LINEAR + TABLES + NORMS));
}

/* In fp32 a table's G is larger than a weight, the G of a refresh and the scratch of an update: it alone
 * decides. */
static void gradients_of_fused_updates_take_turns_with_weights_and_scratch(void **state)
{
  (void)state;
  qg_optim_options fused = options_of(QG_METHOD_QGALORE), dense = options_of(QG_METHOD_ADAM8BIT);
  fused.fused = dense.fused = true;
  const size_t table = 4 * TABLES / 2;
  assert_int_equal(dry_bytes(fused, 1, QG_OWNER_GRADIENTS), 4 * NORMS);
  assert_int_equal(dry_bytes(dense, 1, QG_OWNER_GRADIENTS), 4 * NORMS);
  size_t update = dry_bytes(dense, 1, QG_OWNER_WORKSPACE) - table;
  assert_in_range(update, 1, 5 << 20); /* a chunk of the update, sums */
  size_t scratch = dry_bytes(fused, 1, QG_OWNER_WORKSPACE) - table;
  assert_in_range(scratch, update,
                  update + 4 * 4 * 512 * RANK); /* a projector, a refresh's bases and rotation */
}

static void a_dry_ledger_counts_what_a_live_one_takes(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), 16, 2);
  qg_optim_request request = fixture_request(&f);
  trained t;
  assert_ok(qg_mem_create(NULL, &request.mem));
  assert_ok(trained_create(&request, &f.shape, &f.part, &t));
  for (int owner = 0; owner < QG_OWNER_COUNT; owner++)
    if (owner != QG_OWNER_DATA)
      assert_int_equal(qg_mem_bytes(request.mem, (qg_owner)owner), qg_mem_bytes(f.mem, (qg_owner)owner));
  const qg_state_entry *entries;
  int dry_count, count;
  assert_ok(qg_optim_state(t.optim, &entries, &dry_count)); /* sizes for --check */
  assert_ok(qg_optim_state(f.optim, &entries, &count));
  assert_int_equal(dry_count, count);
  trained_destroy(&t);
  qg_mem_destroy(request.mem);
  fixture_close(&f);
}

static void steps_allocate_nothing(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), 16, 2);
  int64_t before = qg_mem_allocations(f.mem);
  for (int64_t step = 0; step < 12; step++) noise_step(&f, step, 0.01);
  assert_int_equal(qg_mem_allocations(f.mem), before);
  fixture_close(&f);
}

static void a_stage_without_layers_needs_no_low_rank_scratch(void **state)
{
  (void)state;
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  const qg_partition embedding_only = {.has_embedding = true};
  fixture_open(&f, &embedding_only, "fp32", 16, 2);
  assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_PROJECTORS), 0);
  noise_step(&f, 0, 0.01);
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 0);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(int8_weights_cost_one_byte_and_a_fiftieth),
      cmocka_unit_test(dense_weights_cost_their_type),
      cmocka_unit_test(projectors_cost_half_a_byte_or_four),
      cmocka_unit_test(moments_cost_two_bytes_or_eight),
      cmocka_unit_test(gradients_cost_the_low_rank_and_what_a_refresh_needs),
      cmocka_unit_test(gradients_of_fused_updates_take_turns_with_weights_and_scratch),
      cmocka_unit_test(a_dry_ledger_counts_what_a_live_one_takes),
      cmocka_unit_test(steps_allocate_nothing),
      cmocka_unit_test(a_stage_without_layers_needs_no_low_rank_scratch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
