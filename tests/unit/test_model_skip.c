/* What is promised: an evaluation can leave out sub-layers. What is left out passes the residual stream on as
 * it is and reads no weight; training does not ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/llama/roles.h"
#include "support/fixtures/one_stage.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/ref_llama.h"

enum {
  LAYERS = 3,
  SUBLAYERS = 2,
  CHOICES = 1 << (LAYERS * SUBLAYERS),
  NOTHING = 0,
  EVERYTHING = CHOICES - 1
};
enum {
  MICRO_BATCH = 2,
  LENGTH = 6,
  TOKENS = MICRO_BATCH * LENGTH,
  PARAMS = 1 + QG_LAYER_PARAMS * LAYERS + 2
};

static const qg_model_shape shape = ONE_STAGE_SHAPE(LAYERS);
static const qg_partition whole = {.num_layers = LAYERS, .has_embedding = true, .has_head = true};
static const qg_stage_options plain = {
    .micro_batch = MICRO_BATCH, .sequence_length = LENGTH, .logit_chunk_tokens = 5, .slots = 1};
static const int32_t ids[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
static const int32_t targets[TOKENS] = {1, 4, 1, 5, 9, -1, 6, 5, 3, 5, 8, 9};

/* Bit 2 * layer + sub-layer of `skipped` skips one. */
typedef struct {
  unsigned skipped;
  int asked; /* times */
  int first_layer;
} choice;

/* They come in order. */
static bool leaves_out(void *context, int layer, qg_sublayer sublayer)
{
  choice *c = context;
  int index = SUBLAYERS * (layer - c->first_layer) + (int)sublayer;
  assert_int_equal(index, c->asked % (LAYERS * SUBLAYERS));
  c->asked++;
  return (c->skipped >> index & 1) != 0;
}

/* A reader that counts what it gives out, and remembers which matrix was announced. */
typedef struct {
  dense_port dense;
  float *values[PARAMS];
  double *wide[PARAMS];
  int reads[PARAMS];
  int announced; /* -1: none */
} model_weights;

static qg_status counted_read(void *impl, int param, qg_view *out)
{
  model_weights *w = impl;
  w->reads[param]++;
  if (qg_model_param(&shape, param).kind == QG_PARAM_MATRIX) {
    if (w->announced >= 0) assert_int_equal(w->announced, param);
    w->announced = -1;
  }
  return dense_port_read(&w->dense, param, out);
}

static qg_status announce(void *impl, int param)
{
  ((model_weights *)impl)->announced = param;
  return QG_OK;
}

static qg_weight_reader counting(model_weights *w)
{
  w->announced = -1;
  memset(w->reads, 0, sizeof w->reads);
  return (qg_weight_reader){.impl = w, .read = counted_read, .prefetch = announce};
}

static void fill_weights(model_weights *w)
{
  for (int i = 0; i < PARAMS; i++) {
    qg_param param = qg_model_param(&shape, i);
    int64_t count = qg_param_elements(&param);
    qg_rng rng = {.seed = (uint64_t)i, .purpose = QG_RNG_SYNTHETIC};
    w->values[i] = malloc((size_t)count * sizeof(float));
    w->wide[i] = malloc((size_t)count * sizeof(double));
    assert_true(w->values[i] && w->wide[i]);
    for (int64_t j = 0; j < count; j++)
      w->wide[i][j] = w->values[i][j] = qg_rng_unit_at(rng, (uint64_t)j) - 0.5f;
    assert_ok(dense_port_set(&w->dense, i, w->values[i]));
  }
}

static void open_model(one_stage *s, const qg_partition *part, const qg_stage_options *options,
                       model_weights *w)
{
  one_stage_open(s, &shape, part, options, &w->dense);
  fill_weights(w);
}

static void close_model(one_stage *s, model_weights *w)
{
  for (int i = 0; i < PARAMS; i++) {
    free(w->values[i]);
    free(w->wide[i]);
  }
  one_stage_close(s);
}

static double evaluate(one_stage *s, const qg_weight_reader *weights)
{
  double loss = 0.0;
  qg_view out;
  assert_ok(qg_stage_evaluate(s->stage, weights, 0, ids, &out));
  assert_ok(qg_stage_loss(s->stage, weights, NULL, 0, targets, 0.0f, &loss));
  return loss;
}

static bool is_skipped(unsigned skipped, int layer, qg_sublayer sublayer)
{
  return (skipped >> (SUBLAYERS * layer + (int)sublayer) & 1) != 0;
}

/* A sub-layer whose last matrix is zero adds nothing to the residual stream. */
static double loss_of_the_rest(const model_weights *w, unsigned skipped)
{
  double *params[PARAMS], none[24 * 16] = {0};
  memcpy(params, w->wide, sizeof params);
  for (int layer = 0; layer < LAYERS; layer++) {
    if (is_skipped(skipped, layer, QG_SUBLAYER_ATTENTION))
      params[qg_llama_param(&shape, QG_ROLE_O, layer)] = none;
    if (is_skipped(skipped, layer, QG_SUBLAYER_MLP))
      params[qg_llama_param(&shape, QG_ROLE_DOWN, layer)] = none;
  }
  return ref_llama_loss(&shape, params, MICRO_BATCH, LENGTH, ids, targets);
}

static void expect_reads(const model_weights *w, unsigned skipped)
{
  for (int i = 0; i < PARAMS; i++) {
    int layer = (i - 1) / QG_LAYER_PARAMS, role = QG_ROLE_ATTN_NORM + (i - 1) % QG_LAYER_PARAMS;
    bool in_layer = i > 0 && layer < LAYERS;
    qg_sublayer sublayer = role < (int)QG_ROLE_MLP_NORM ? QG_SUBLAYER_ATTENTION : QG_SUBLAYER_MLP;
    assert_int_equal(w->reads[i], in_layer && is_skipped(skipped, layer, sublayer) ? 0 : 1);
  }
  assert_int_equal(w->announced, -1);
}

/* Every choice of sub-layers, on a stage with these options. */
static void check_every_choice(const qg_stage_options *options)
{
  one_stage s;
  model_weights w;
  open_model(&s, &whole, options, &w);
  for (unsigned skipped = NOTHING; skipped <= EVERYTHING; skipped++) {
    choice c = {.skipped = skipped};
    qg_weight_reader weights = counting(&w);
    qg_stage_set_skip(s.stage, leaves_out, &c);
    double loss = evaluate(&s, &weights), want = loss_of_the_rest(&w, skipped);
    if (!QG_CLOSE(loss, want, QG_TOL_F32_SUM))
      fail_msg("without %x the loss is %.9g, not %.9g", skipped, loss, want);
    assert_int_equal(c.asked, LAYERS * SUBLAYERS);
    expect_reads(&w, skipped);
  }
  close_model(&s, &w);
}

static void what_is_skipped_adds_nothing_and_reads_nothing(void **state)
{
  (void)state;
  qg_stage_options checkpointing = plain, forward_only = plain;
  checkpointing.checkpointing = true;
  forward_only.forward_only = true;
  check_every_choice(&plain);
  check_every_choice(&checkpointing);
  check_every_choice(&forward_only);
}

static void without_any_sub_layer_a_stage_hands_its_embedding_on(void **state)
{
  (void)state;
  const qg_partition first = {.num_layers = LAYERS, .has_embedding = true};
  one_stage s;
  model_weights w;
  qg_view out;
  choice c = {.skipped = EVERYTHING};
  open_model(&s, &first, &plain, &w);
  qg_weight_reader weights = counting(&w);
  qg_stage_set_skip(s.stage, leaves_out, &c);
  assert_ok(qg_stage_evaluate(s.stage, &weights, 0, ids, &out));
  for (int i = 0; i < TOKENS; i++)
    assert_memory_equal((const float *)out.data + i * out.stride, w.values[0] + ids[i] * shape.hidden_size,
                        (size_t)shape.hidden_size * sizeof(float));
  close_model(&s, &w);
}

/* Also when somebody asked before. */
static void nobody_skipped_changes_no_bit(void **state)
{
  (void)state;
  one_stage s;
  model_weights w;
  choice none = {.skipped = NOTHING}, all = {.skipped = EVERYTHING};
  open_model(&s, &whole, &plain, &w);
  qg_weight_reader weights = counting(&w);
  double loss = evaluate(&s, &weights);
  qg_stage_set_skip(s.stage, leaves_out, &none);
  assert_true(evaluate(&s, &weights) == loss);
  qg_stage_set_skip(s.stage, leaves_out, &all);
  assert_true(evaluate(&s, &weights) != loss);
  qg_stage_set_skip(s.stage, NULL, NULL);
  assert_true(evaluate(&s, &weights) == loss);
  close_model(&s, &w);
}

static void layers_are_counted_over_the_whole_model(void **state)
{
  (void)state;
  const qg_model_shape longer = ONE_STAGE_SHAPE(2 * LAYERS);
  const qg_partition second = {.first_layer = LAYERS, .num_layers = LAYERS};
  one_stage s;
  dense_port dense;
  qg_view out;
  choice c = {.skipped = EVERYTHING, .first_layer = LAYERS};
  one_stage_open(&s, &longer, &second, &plain, &dense);
  qg_weight_reader weights = dense_port_reader(&dense);
  qg_stage_set_skip(s.stage, leaves_out, &c);
  assert_ok(qg_stage_evaluate(s.stage, &weights, 0, NULL, &out));
  assert_int_equal(c.asked, LAYERS * SUBLAYERS);
  one_stage_close(&s);
}

/* One step: the loss, and the sum of all gradients, exact as doubles of floats in one order. */
static void train(bool with_skip, double results[2])
{
  one_stage s;
  model_weights w;
  qg_view out, d_in;
  choice c = {.skipped = EVERYTHING};
  open_model(&s, &whole, &plain, &w);
  qg_weight_reader weights = dense_port_reader(&w.dense);
  qg_gradient_port gradients = dense_port_gradients(&w.dense);
  if (with_skip) qg_stage_set_skip(s.stage, leaves_out, &c);
  results[0] = results[1] = 0.0;
  assert_ok(qg_stage_forward(s.stage, &weights, 0, ids, &out));
  assert_ok(qg_stage_loss(s.stage, &weights, &gradients, 0, targets, 1.0f, &results[0]));
  assert_ok(qg_stage_backward(s.stage, &weights, &gradients, 0, ids, out, &d_in));
  for (int i = 0; i < PARAMS; i++)
    for (int64_t j = 0; j < w.dense.grads[i].rows * w.dense.grads[i].cols; j++)
      results[1] += (double)(j % 7 + 1) * (double)((const float *)w.dense.grads[i].data)[j];
  assert_int_equal(c.asked, 0);
  close_model(&s, &w);
}

static void training_never_asks(void **state)
{
  (void)state;
  double without[2], with[2];
  train(false, without);
  train(true, with);
  assert_memory_equal(without, with, sizeof with);
  assert_true(without[1] != 0.0);
}

/* --- graphs: only their number matters --- */

static int graphs_begun;

static qg_status begin_graph(qg_backend *be)
{
  (void)be;
  graphs_begun++;
  return QG_OK;
}

static qg_status end_graph(qg_backend *be, qg_graph **out)
{
  *out = (qg_graph *)be;
  return QG_OK;
}

static qg_status launch_graph(qg_backend *be, qg_graph *graph)
{
  (void)be, (void)graph;
  return QG_OK;
}

static void destroy_graph(qg_backend *be, qg_graph *graph)
{
  (void)be, (void)graph;
}

static void an_evaluation_that_asks_replays_no_graph(void **state)
{
  (void)state;
  static const qg_backend_async_ops async = {.begin_graph = begin_graph,
                                             .end_graph = end_graph,
                                             .launch_graph = launch_graph,
                                             .destroy_graph = destroy_graph};
  qg_stage_options options = plain;
  options.graphs = true;
  one_stage s;
  model_weights w;
  choice c = {.skipped = 1};
  open_model(&s, &whole, &plain, &w);
  qg_backend_ops with_graphs = *s.be->ops;
  const qg_backend_ops *own = s.be->ops;
  with_graphs.async = &async;
  s.be->ops = &with_graphs;
  qg_stage_destroy(s.stage);
  assert_ok(qg_stage_create(s.mem, s.be, &shape, &whole, &options, &s.stage));
  assert_ok(qg_stage_init(s.stage));
  qg_weight_reader weights = dense_port_reader(&w.dense);
  graphs_begun = 0;
  qg_stage_set_skip(s.stage, leaves_out, &c);
  for (int i = 0; i < 3; i++) evaluate(&s, &weights);
  assert_int_equal(graphs_begun, 0);
  qg_stage_set_skip(s.stage, NULL, NULL);
  for (int i = 0; i < 3; i++) evaluate(&s, &weights);
  assert_int_equal(graphs_begun, LAYERS);
  qg_stage_destroy(s.stage);
  s.stage = NULL;
  s.be->ops = own;
  close_model(&s, &w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_skipped_adds_nothing_and_reads_nothing),
      cmocka_unit_test(without_any_sub_layer_a_stage_hands_its_embedding_on),
      cmocka_unit_test(nobody_skipped_changes_no_bit),
      cmocka_unit_test(layers_are_counted_over_the_whole_model),
      cmocka_unit_test(training_never_asks),
      cmocka_unit_test(an_evaluation_that_asks_replays_no_graph),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
