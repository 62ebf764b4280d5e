/* What is promised: fresh weights are a function of the seed, the parameter and the element, and of nothing
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/backend/host.h"
#include "qgalore/model.h"
#include "qgalore/optim.h"
#include "support/fixtures/weights_fixture.h"

enum { SEED = 5 };

static void fresh_weights_are_normal_and_norms_are_one(void **state)
{
  (void)state;
  weights_fixture f;
  float got[MATRIX_ELEMENTS], expected[MATRIX_ELEMENTS];
  qg_rng rng = {.seed = SEED, .tensor = (uint32_t)weights_params[MATRIX].id, .purpose = QG_RNG_INIT};
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_F32, .options = {.seed = SEED}});
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  qg_normal_fill(rng, 0.02f, 0, MATRIX_ELEMENTS, 1, expected);
  weights_get(&f, MATRIX, got);
  assert_memory_equal(got, expected, sizeof got);
  weights_get(&f, NORM, got);
  for (int i = 0; i < NORM_COLS; i++) assert_true(got[i] == 1.0f);
  weights_close(&f);
}

static void expect_same_weights(weights_fixture *a, weights_fixture *b)
{
  float first[MATRIX_ELEMENTS], second[MATRIX_ELEMENTS];
  int compared = 0;
  for (int param = 0; param < WEIGHTS_COUNT; param++) {
    if (!a->params[param].held || !b->params[param].held) continue;
    weights_get(a, param, first);
    weights_get(b, param, second);
    assert_memory_equal(first, second, (size_t)weights_elements(param) * sizeof(float));
    compared++;
  }
  assert_true(compared > 0);
}

/* Another rank's view: it holds the layer that this one does not, and shares the tables. */
static void fresh_weights_are_the_same_on_every_partition(void **state)
{
  (void)state;
  qg_param all[WEIGHTS_COUNT], some[WEIGHTS_COUNT];
  memcpy(all, weights_params, sizeof all);
  memcpy(some, weights_params, sizeof some);
  all[ELSEWHERE].held = some[ELSEWHERE].held = true;
  some[EMBED].held = some[MATRIX].held = some[NORM].held = false;
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.format = weights_formats[i], .options = {.seed = SEED}};
    weights_fixture whole, part;
    weights_open_params(&whole, &setup, all);
    weights_open_params(&part, &setup, some);
    assert_ok(qg_weights_initialise(whole.weights, &whole.staging));
    assert_ok(qg_weights_initialise(part.weights, &part.staging));
    expect_same_weights(&whole, &part);
    weights_close(&whole);
    weights_close(&part);
  }
}

static void fresh_weights_do_not_depend_on_staging_and_memory(void **state)
{
  (void)state;
  for (int i = 0; i < 2 * QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.format = weights_formats[i / 2], .options = {.seed = SEED}}, other = setup;
    weights_fixture f, pieces;
    other.separate_memory = i % 2;
    weights_open(&f, &setup);
    weights_open(&pieces, &other);
    qg_weight_staging little = weights_small_staging(&pieces, 3 * QG_GROUP);
    assert_ok(qg_weights_initialise(f.weights, &f.staging));
    assert_ok(qg_weights_initialise(pieces.weights, &little));
    expect_same_weights(&f, &pieces);
    weights_close(&f);
    weights_close(&pieces);
  }
}

static void seeds_and_ids_make_a_difference(void **state)
{
  (void)state;
  weights_fixture f, g;
  float a[MATRIX_ELEMENTS], b[MATRIX_ELEMENTS];
  qg_param moved[WEIGHTS_COUNT];
  memcpy(moved, weights_params, sizeof moved);
  moved[MATRIX].id = weights_params[SMALL].id;
  weights_open(&f, &(weights_setup){.options = {.seed = SEED}});
  weights_open_params(&g, &(weights_setup){.options = {.seed = SEED}}, moved);
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  assert_ok(qg_weights_initialise(g.weights, &g.staging));
  weights_get(&f, SMALL, a);
  weights_get(&g, MATRIX, b);
  assert_memory_equal(a, b, (size_t)weights_elements(SMALL) * sizeof(float)); /* by id, wherever it stands */
  weights_get(&f, MATRIX, a);
  assert_memory_not_equal(a, b, sizeof a);
  weights_close(&g);
  weights_open(&g, &(weights_setup){.options = {.seed = SEED + 1}});
  assert_ok(qg_weights_initialise(g.weights, &g.staging));
  weights_get(&g, MATRIX, b);
  assert_memory_not_equal(a, b, sizeof a);
  weights_close(&f);
  weights_close(&g);
}

/* Weights alone, with staging of their own, beside those of a training job, which pass through the
 * optimizer's scratch. */
static const qg_model_shape llama = {.hidden_size = 32,
                                     .intermediate_size = 72,
                                     .num_layers = 2,
                                     .num_heads = 2,
                                     .num_kv_heads = 2,
                                     .vocab_size = 50,
                                     .rope_theta = 10000,
                                     .rms_norm_eps = 1e-6};

static const qg_optim_options qgalore = {.method = QG_METHOD_QGALORE,
                                         .moment_bits = 8,
                                         .moment_block = 256,
                                         .dense_type = QG_BF16,
                                         .rank = 8,
                                         .weight_bits = 8,
                                         .projector_bits = 4,
                                         .include_zero = true,
                                         .update_gap = 10,
                                         .similarity_window = 5,
                                         .subspace = {.method = QG_SUBSPACE_EXACT, .threads = 1},
                                         .seed = SEED};

typedef struct {
  qg_backend *be;
  qg_mem *mem;
  qg_param_list params;
  qg_weights *weights;
} llama_weights;

static void llama_open(llama_weights *l)
{
  const qg_partition whole = {.num_layers = 2, .has_embedding = true, .has_head = true};
  qg_backend_request request = {.name = "cpu", .precision = "bf16", .threads = 1};
  qg_weight_options options = {.include_zero = true, .seed = SEED};
  qg_weight_format formats[64];
  assert_ok(qg_backend_open(&request, &l->be));
  assert_ok(qg_mem_create(l->be, &l->mem));
  assert_ok(qg_model_params(&llama, &whole, &l->params));
  for (int i = 0; i < l->params.count; i++)
    formats[i] = qg_optim_weight_format(&qgalore, &l->params.params[i]);
  assert_ok(qg_weights_create(l->mem, l->be, &l->params, formats, &options, &l->weights));
}

static void llama_close(llama_weights *l)
{
  qg_weights_destroy(l->weights);
  free(l->params.params);
  qg_mem_destroy(l->mem);
  qg_backend_close(l->be);
}

static void expect_same_state(const llama_weights *a, const llama_weights *b)
{
  qg_state_list first = {0}, second = {0};
  for (int i = 0; i < a->params.count; i++) {
    assert_ok(qg_weights_list_state(a->weights, i, &first));
    assert_ok(qg_weights_list_state(b->weights, i, &second));
  }
  assert_int_equal(first.count, second.count);
  for (int i = 0; i < first.count; i++) {
    const qg_state_entry *x = &first.entries[i], *y = &second.entries[i];
    assert_string_equal(x->dataset, y->dataset);
    assert_memory_equal(x->data, y->data, qg_dtype_bytes(x->type, x->elements));
  }
  free(first.entries);
  free(second.entries);
}

static void weights_alone_start_as_those_of_a_training_job(void **state)
{
  (void)state;
  llama_weights alone, training;
  qg_weight_staging staging;
  qg_optim *optim;
  llama_open(&alone);
  assert_ok(qg_weights_take_scratch(alone.weights, alone.mem));
  assert_ok(qg_weights_take_staging(alone.weights, alone.mem, &staging));
  assert_ok(qg_weights_initialise(alone.weights, &staging));
  llama_open(&training);
  qg_optim_request request = {.mem = training.mem,
                              .be = training.be,
                              .params = training.params,
                              .weights = training.weights,
                              .options = qgalore,
                              .tokens = 8,
                              .micro_batches = 1};
  assert_ok(qg_optim_create(&request, &optim));
  assert_ok(qg_weights_start(training.weights));
  assert_ok(qg_optim_reset(optim));
  assert_ok(qg_weights_initialise(training.weights, qg_optim_staging(optim)));
  expect_same_state(&alone, &training);
  qg_optim_destroy(optim);
  llama_close(&training);
  llama_close(&alone);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fresh_weights_are_normal_and_norms_are_one),
      cmocka_unit_test(fresh_weights_are_the_same_on_every_partition),
      cmocka_unit_test(fresh_weights_do_not_depend_on_staging_and_memory),
      cmocka_unit_test(seeds_and_ids_make_a_difference),
      cmocka_unit_test(weights_alone_start_as_those_of_a_training_job),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
