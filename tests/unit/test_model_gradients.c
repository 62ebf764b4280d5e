/* What is promised: loss and every gradient are those of the formulas, however memory is saved, however many
 * micro-batches are in flight and wherever the pipeline is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "support/fixtures/assert_ok.h"
#include "support/fixtures/model_run.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/ref_llama.h"

enum { LAYERS = 2, SEQUENCES = 2, LENGTH = 7, TOKENS = SEQUENCES * LENGTH, BATCHES = 3, VOCAB = 29 };

#define GRAD_SCALE 0.125f

/* A model with weights, and the tokens that it sees. */
typedef struct {
  qg_model_shape shape;
  int count;
  float *params[64];
  int32_t ids[BATCHES * TOKENS], targets[BATCHES * TOKENS];
} problem;

static qg_model_shape tiny_shape(int64_t kv_heads, bool tied)
{
  return (qg_model_shape){.hidden_size = 16,
                          .intermediate_size = kv_heads == 4 ? 56 : 24,
                          .num_layers = LAYERS,
                          .num_heads = 4,
                          .num_kv_heads = kv_heads,
                          .vocab_size = VOCAB,
                          .tie_embeddings = tied,
                          .rope_theta = kv_heads == 4 ? 10000 : 500000,
                          .rms_norm_eps = 1e-5};
}

static float uniform(int tensor, int64_t element)
{
  qg_rng rng = {.seed = 11, .tensor = (uint32_t)tensor, .purpose = QG_RNG_INIT};
  return 2 * qg_rng_unit_at(rng, (uint64_t)element) - 1;
}

/* Weights are bf16 numbers, so that both precisions start from the same model. */
static float to_bf16(float value)
{
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= 0xffff0000u;
  memcpy(&value, &bits, sizeof bits);
  return value;
}

static void fill_params(problem *p)
{
  for (int id = 0; id < p->count; id++) {
    qg_param param = qg_model_param(&p->shape, id);
    bool norm = qg_param_is_vector(&param);
    p->params[id] = calloc((size_t)(param.rows * param.cols), sizeof(float));
    assert_non_null(p->params[id]);
    for (int64_t i = 0; i < param.rows * param.cols; i++)
      p->params[id][i] = to_bf16(norm ? 1 + 0.5f * uniform(id, i) : 0.6f * uniform(id, i));
  }
}

static void problem_make(problem *p, int64_t kv_heads, bool tied)
{
  *p = (problem){.shape = tiny_shape(kv_heads, tied)};
  p->count = qg_model_param_count(&p->shape);
  assert_true(p->count <= QG_COUNT_OF(p->params));
  fill_params(p);
  for (int i = 0; i < BATCHES * TOKENS; i++) {
    p->ids[i] = (int32_t)((uniform(100, i) + 1) * 0.5f * VOCAB);
    p->targets[i] = i % 6 == 2 ? -1 : (int32_t)((uniform(101, i) + 1) * 0.5f * VOCAB);
  }
}

static void problem_free(problem *p)
{
  for (int id = 0; id < p->count; id++) free(p->params[id]);
}

/* One stage, one micro-batch, fp32; five loss rows do not divide fourteen tokens. */
static model_run plain_run(const problem *p)
{
  return (model_run){
      .shape = p->shape,
      .options = {.micro_batch = SEQUENCES, .sequence_length = LENGTH, .logit_chunk_tokens = 5, .slots = 1},
      .precision = "fp32",
      .stages = 1,
      .micro_batches = 1,
      .grad_scale = GRAD_SCALE,
      .ids = p->ids,
      .targets = p->targets,
      .params = p->params};
}

static model_result result_of(const model_run *run)
{
  model_result result;
  assert_ok(model_run_do(run, &result));
  return result;
}

static void widen(const problem *p, double **wide)
{
  for (int id = 0; id < p->count; id++) {
    qg_param param = qg_model_param(&p->shape, id);
    wide[id] = calloc((size_t)(param.rows * param.cols), sizeof(double));
    assert_non_null(wide[id]);
    for (int64_t i = 0; i < param.rows * param.cols; i++) wide[id][i] = p->params[id][i];
  }
}

static double reference_loss(const problem *p, double *const *wide)
{
  return ref_llama_loss(&p->shape, wide, SEQUENCES, LENGTH, p->ids, p->targets);
}

static double central_difference(const problem *p, double *const *wide, int id, int64_t element)
{
  const double h = 1e-4, kept = wide[id][element];
  wide[id][element] = kept + h;
  double above = reference_loss(p, wide);
  wide[id][element] = kept - h;
  double below = reference_loss(p, wide);
  wide[id][element] = kept;
  return (above - below) / (2 * h);
}

/* Relative error of a tensor over a sample of its elements; the odd stride visits all rows and columns. */
static double tensor_error(const problem *p, double *const *wide, const model_result *result, int id)
{
  int64_t count = result->elements[id], stride = 1 + 2 * (count / 160);
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < count; i += stride) {
    double expected = GRAD_SCALE * central_difference(p, wide, id, i);
    double error = result->grads[id][i] - expected;
    difference += error * error;
    norm += expected * expected;
  }
  assert_true(norm > 0);
  return sqrt(difference / norm);
}

static void assert_matches_reference(int64_t kv_heads, bool tied, bool checkpointing)
{
  problem p;
  double *wide[64];
  problem_make(&p, kv_heads, tied);
  widen(&p, wide);
  model_run run = plain_run(&p);
  run.options.checkpointing = checkpointing;
  model_result result = result_of(&run);
  assert_true(QG_CLOSE(result.loss, reference_loss(&p, wide), QG_TOL_F32_SUM));
  for (int id = 0; id < p.count; id++) {
    double error = tensor_error(&p, wide, &result, id);
    if (!(error < QG_TOL_GRAD_FP32))
      fail_msg("%s: relative error %.2e", qg_model_param(&p.shape, id).name, error);
  }
  for (int id = 0; id < p.count; id++) free(wide[id]);
  model_result_free(&result);
  problem_free(&p);
}

static void gradients_are_exact_for_multi_head_attention(void **state)
{
  (void)state;
  assert_matches_reference(4, false, false);
}

static void gradients_are_exact_for_grouped_queries(void **state)
{
  (void)state;
  assert_matches_reference(2, false, false);
}

static void gradients_are_exact_for_one_key_value_head(void **state)
{
  (void)state;
  assert_matches_reference(1, false, true);
}

static void gradients_are_exact_for_a_tied_head(void **state)
{
  (void)state;
  assert_matches_reference(2, true, false);
}

static void gradients_are_exact_with_checkpointing(void **state)
{
  (void)state;
  assert_matches_reference(4, true, true);
}

static void assert_same_bits(const model_result *a, const model_result *b)
{
  assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
  assert_int_equal(a->count, b->count);
  for (int id = 0; id < a->count; id++)
    assert_memory_equal(a->grads[id], b->grads[id], (size_t)a->elements[id] * sizeof(float));
}

/* Runs both and compares; returns with the promise kept or fails. */
static void assert_runs_agree(const model_run *a, const model_run *b)
{
  model_result first = result_of(a), second = result_of(b);
  assert_same_bits(&first, &second);
  model_result_free(&first);
  model_result_free(&second);
}

static const char *const precisions[] = {"fp32", "bf16"};

static void checkpointing_does_not_change_a_bit(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  for (int i = 0; i < QG_COUNT_OF(precisions); i++) {
    model_run plain = plain_run(&p);
    plain.precision = precisions[i];
    model_run saving = plain;
    saving.options.checkpointing = true;
    assert_runs_agree(&plain, &saving);
  }
  problem_free(&p);
}

static void cutting_the_pipeline_does_not_change_a_bit(void **state)
{
  (void)state;
  const int cuts[] = {2, 3, LAYERS + 2};
  problem p;
  for (int tied = 0; tied <= 1; tied++) {
    problem_make(&p, 2, tied);
    for (int i = 0; i < QG_COUNT_OF(precisions) * QG_COUNT_OF(cuts); i++) {
      model_run whole = plain_run(&p);
      whole.micro_batches = BATCHES;
      whole.precision = precisions[i % 2];
      model_run cut = whole;
      cut.stages = cuts[i / 2];
      assert_runs_agree(&whole, &cut);
    }
    problem_free(&p);
  }
}

static void micro_batches_in_flight_do_not_disturb_each_other(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  for (int checkpointing = 0; checkpointing <= 1; checkpointing++) {
    for (int stages = 1; stages <= LAYERS + 2; stages++) {
      model_run in_turn = plain_run(&p);
      in_turn.micro_batches = BATCHES;
      model_run in_flight = in_turn;
      in_flight.stages = stages;
      in_flight.options.slots = BATCHES;
      in_flight.options.checkpointing = checkpointing;
      in_flight.all_in_flight = true;
      assert_runs_agree(&in_turn, &in_flight);
    }
  }
  problem_free(&p);
}

static void rows_of_logits_alive_at_once_do_not_change_the_loss(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  model_run blocks = plain_run(&p), at_once = blocks;
  at_once.options.logit_chunk_tokens = 1000;
  model_result a = result_of(&blocks), b = result_of(&at_once);
  assert_true(QG_CLOSE(a.loss, b.loss, QG_TOL_F32_SUM));
  model_result_free(&a);
  model_result_free(&b);
  problem_free(&p);
}

static void a_step_takes_no_memory(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  model_run run = plain_run(&p);
  model_result result = result_of(&run);
  assert_true(result.steady);
  model_result_free(&result);
  problem_free(&p);
}

static void validation_gives_the_loss_of_training_and_no_gradients(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  model_run training = plain_run(&p), validation = training;
  validation.grad_scale = 0;
  model_result trained = result_of(&training), validated = result_of(&validation);
  assert_memory_equal(&trained.loss, &validated.loss, sizeof trained.loss);
  assert_int_equal(validated.grad_calls, 0);
  model_result_free(&trained);
  model_result_free(&validated);
  problem_free(&p);
}

static double relative_difference(const float *a, const float *b, int64_t count)
{
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < count; i++) {
    difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    norm += (double)b[i] * b[i];
  }
  return sqrt(difference / norm);
}

static void bf16_stays_near_fp32(void **state)
{
  (void)state;
  problem p;
  problem_make(&p, 2, false);
  model_run exact = plain_run(&p), rounded = exact;
  rounded.precision = "bf16";
  model_result a = result_of(&rounded), b = result_of(&exact);
  assert_true(QG_CLOSE(a.loss, b.loss, QG_TOL_LOSS_BF16));
  for (int id = 0; id < p.count; id++) {
    double error = relative_difference(a.grads[id], b.grads[id], a.elements[id]);
    if (!(error < QG_TOL_GRAD_BF16))
      fail_msg("%s: relative difference %.2e", qg_model_param(&p.shape, id).name, error);
  }
  model_result_free(&a);
  model_result_free(&b);
  problem_free(&p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_exact_for_multi_head_attention),
      cmocka_unit_test(gradients_are_exact_for_grouped_queries),
      cmocka_unit_test(gradients_are_exact_for_one_key_value_head),
      cmocka_unit_test(gradients_are_exact_for_a_tied_head),
      cmocka_unit_test(gradients_are_exact_with_checkpointing),
      cmocka_unit_test(checkpointing_does_not_change_a_bit),
      cmocka_unit_test(cutting_the_pipeline_does_not_change_a_bit),
      cmocka_unit_test(micro_batches_in_flight_do_not_disturb_each_other),
      cmocka_unit_test(rows_of_logits_alive_at_once_do_not_change_the_loss),
      cmocka_unit_test(a_step_takes_no_memory),
      cmocka_unit_test(validation_gives_the_loss_of_training_and_no_gradients),
      cmocka_unit_test(bf16_stays_near_fp32),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
