/* What is promised: a loss needs weights and a stage that only goes forward. It is the loss of the training
 * stage to the bit, and there is no memory for anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/model.h"
#include "qgalore/numerics/philox.h"
#include "qgalore/optim.h"
#include "support/fixtures/assert_ok.h"

enum {
  LAYERS = 3,
  SEQUENCES = 2,
  LENGTH = 24,
  TOKENS = SEQUENCES * LENGTH,
  HIDDEN = 32,
  VOCAB = 64,
  MOST_STAGES = 3
};

/* Groups of INT8 weights straddle rows, and rows are not whole numbers of 16 bytes. */
static qg_model_shape shape_of(int64_t layers, bool tied)
{
  return (qg_model_shape){.hidden_size = HIDDEN,
                          .intermediate_size = 76,
                          .num_layers = layers,
                          .num_heads = 4,
                          .num_kv_heads = 2,
                          .vocab_size = VOCAB,
                          .tie_embeddings = tied,
                          .rope_theta = 10000,
                          .rms_norm_eps = 1e-6};
}

static const qg_stage_options training_options = {
    .micro_batch = SEQUENCES, .sequence_length = LENGTH, .logit_chunk_tokens = 20, .slots = 1};

static qg_stage_options evaluation_options(void)
{
  qg_stage_options options = training_options;
  options.forward_only = true;
  return options;
}

static const qg_optim_options method = {.method = QG_METHOD_QGALORE,
                                        .beta1 = 0.9,
                                        .beta2 = 0.95,
                                        .eps = 1e-8,
                                        .moment_bits = 8,
                                        .moment_block = 256,
                                        .dense_type = QG_BF16,
                                        .rank = 8,
                                        .scale = 0.25,
                                        .weight_bits = 8,
                                        .projector_bits = 4,
                                        .include_zero = true,
                                        .update_gap = 10,
                                        .similarity_window = 5,
                                        .subspace = {.method = QG_SUBSPACE_EXACT, .threads = 1},
                                        .seed = 5};

/* One rank: its weights, its stage, and for training its optimizer. */
typedef struct {
  qg_backend *be;
  qg_mem *mem;
  qg_partition part;
  qg_param_list params;
  qg_weights *weights;
  qg_weight_staging staging;
  qg_optim *optim; /* NULL: it only evaluates */
  qg_stage *stage;
} rank;

static void create_weights(rank *r)
{
  const qg_weight_options options = {.include_zero = true, .seed = method.seed};
  qg_weight_format *formats = calloc((size_t)r->params.count, sizeof *formats);
  assert_non_null(formats);
  for (int i = 0; i < r->params.count; i++)
    formats[i] = qg_optim_weight_format(&method, &r->params.params[i]);
  assert_ok(qg_weights_create(r->mem, r->be, &r->params, formats, &options, &r->weights));
  free(formats);
}

static void take_scratch(rank *r, bool trains)
{
  if (trains) {
    qg_optim_request request = {.mem = r->mem,
                                .be = r->be,
                                .params = r->params,
                                .weights = r->weights,
                                .options = method,
                                .tokens = TOKENS,
                                .micro_batches = 1};
    assert_ok(qg_optim_create(&request, &r->optim));
    r->staging = *qg_optim_staging(r->optim);
    return;
  }
  assert_ok(qg_weights_take_scratch(r->weights, r->mem));
  assert_ok(qg_weights_take_staging(r->weights, r->mem, &r->staging));
}

/* mem: dry, or the ledger of `be`. */
static void rank_create(rank *r, qg_backend *be, qg_mem *mem, const qg_model_shape *shape,
                        const qg_partition *part, const qg_stage_options *options)
{
  *r = (rank){.be = be, .mem = mem, .part = *part};
  assert_ok(qg_model_params(shape, part, &r->params));
  create_weights(r);
  take_scratch(r, !options->forward_only);
  assert_ok(qg_stage_create(mem, be, shape, part, options, &r->stage));
}

static void rank_destroy(rank *r)
{
  qg_stage_destroy(r->stage);
  qg_optim_destroy(r->optim);
  qg_weights_destroy(r->weights);
  free(r->params.params);
}

/* A model over some ranks of one process, with one micro-batch. */
typedef struct {
  qg_backend *be;
  int stages;
  rank ranks[MOST_STAGES];
  int32_t *ids, *targets;
  double *loss;
  qg_view handover; /* a gradient that one stage gives the one before */
} model;

static void load_tokens(const model *m)
{
  int32_t tokens[TOKENS + 1];
  const qg_rng rng = {.seed = 1, .purpose = QG_RNG_SYNTHETIC};
  for (int i = 0; i <= TOKENS; i++) tokens[i] = (int32_t)(qg_rng_unit_at(rng, (uint64_t)i) * VOCAB);
  assert_ok(m->be->ops->copy_in(m->be, m->ids, tokens, TOKENS * sizeof *tokens));
  tokens[7] = -1;
  assert_ok(m->be->ops->copy_in(m->be, m->targets, tokens + 1, TOKENS * sizeof *tokens));
}

static void open_rank(model *m, int s, const qg_model_shape *shape, const qg_partition *part,
                      const qg_stage_options *options)
{
  qg_workload workload = qg_stage_workload(shape, options);
  qg_mem *mem;
  assert_ok(qg_mem_create(m->be, &mem));
  if (s == 0) assert_ok(qg_backend_reserve(mem, m->be, &workload)); /* ranks of this process take turns */
  rank_create(&m->ranks[s], m->be, mem, shape, part, options);
  assert_ok(qg_weights_start(m->ranks[s].weights));
  assert_ok(qg_stage_init(m->ranks[s].stage));
  assert_ok(qg_weights_initialise(m->ranks[s].weights, &m->ranks[s].staging));
}

static void model_open(model *m, const char *precision, const qg_model_shape *shape, int stages,
                       const qg_stage_options *options)
{
  qg_backend_request request = {.name = "cpu", .precision = precision, .threads = 2};
  qg_partition parts[MOST_STAGES];
  *m = (model){.stages = stages};
  assert_ok(qg_backend_open(&request, &m->be));
  assert_ok(qg_model_partition(shape, LENGTH, stages, NULL, parts));
  for (int s = 0; s < stages; s++) open_rank(m, s, shape, &parts[s], options);
  qg_mem *mem = m->ranks[0].mem;
  assert_ok(qg_mem_alloc(mem, QG_OWNER_DATA, "ids", TOKENS * sizeof(int32_t), (void **)&m->ids));
  assert_ok(qg_mem_alloc(mem, QG_OWNER_DATA, "targets", TOKENS * sizeof(int32_t), (void **)&m->targets));
  assert_ok(qg_mem_alloc(mem, QG_OWNER_DATA, "loss", sizeof(double), (void **)&m->loss));
  assert_ok(qg_mem_view(mem, QG_OWNER_TRANSFER, "handover", m->be->compute, TOKENS, HIDDEN, &m->handover));
  load_tokens(m);
}

static void model_close(model *m)
{
  for (int s = m->stages - 1; s >= 0; s--) {
    rank_destroy(&m->ranks[s]);
    qg_mem_destroy(m->ranks[s].mem);
  }
  qg_backend_close(m->be);
}

typedef qg_status (*pass)(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids,
                          qg_view *out);

static void go_forward(model *m, pass through)
{
  for (int s = 0; s < m->stages; s++) {
    qg_view out;
    assert_ok(through(m->ranks[s].stage, qg_weights_reader(m->ranks[s].weights), 0, m->ids, &out));
    if (s + 1 < m->stages)
      assert_ok(m->be->ops->convert(m->be, qg_stage_input(m->ranks[s + 1].stage, 0), out));
  }
}

/* The loss alone, or with the backward of the head. */
static double read_loss(model *m, const qg_gradient_port *gradients)
{
  const rank *last = &m->ranks[m->stages - 1];
  double loss;
  assert_ok(m->be->ops->zero(m->be, m->loss, sizeof *m->loss));
  assert_ok(qg_stage_loss(last->stage, qg_weights_reader(last->weights), gradients, 0, m->targets,
                          1.0f / TOKENS, m->loss));
  assert_ok(m->be->ops->copy_out(m->be, &loss, m->loss, sizeof loss));
  return loss;
}

static double evaluated_loss(model *m)
{
  go_forward(m, qg_stage_evaluate);
  return read_loss(m, NULL);
}

/* Of a training step, up to the gradient of the embedding. */
static double trained_loss(model *m)
{
  for (int s = 0; s < m->stages; s++) assert_ok(qg_optim_begin(m->ranks[s].optim, 0));
  go_forward(m, qg_stage_forward);
  double loss = read_loss(m, qg_optim_port(m->ranks[m->stages - 1].optim));
  for (int s = m->stages - 1; s >= 0; s--) {
    const rank *r = &m->ranks[s];
    qg_view d_in;
    assert_ok(qg_stage_backward(r->stage, qg_weights_reader(r->weights), qg_optim_port(r->optim), 0, m->ids,
                                m->handover, &d_in));
    if (s > 0) assert_ok(m->be->ops->convert(m->be, m->handover, d_in));
  }
  return loss;
}

static void expect_equal_losses(const char *precision, bool tied, int stages)
{
  const qg_model_shape shape = shape_of(LAYERS, tied);
  const qg_stage_options forward_only = evaluation_options();
  model training, evaluation;
  model_open(&training, precision, &shape, stages, &training_options);
  model_open(&evaluation, precision, &shape, stages, &forward_only);
  double trained = trained_loss(&training), evaluated = evaluated_loss(&evaluation);
  double by_training_stage = evaluated_loss(&training), again = evaluated_loss(&evaluation);
  assert_true(trained > TOKENS); /* it was computed: over e a token */
  assert_memory_equal(&evaluated, &trained, sizeof trained);
  assert_memory_equal(&by_training_stage, &trained, sizeof trained);
  assert_memory_equal(&again, &trained, sizeof trained);
  model_close(&evaluation);
  model_close(&training);
}

static void the_loss_is_that_of_the_training_stage(void **state)
{
  (void)state;
  for (int tied = 0; tied <= 1; tied++)
    for (int stages = 1; stages <= MOST_STAGES; stages++) {
      expect_equal_losses("fp32", tied, stages);
      expect_equal_losses("bf16", tied, stages);
    }
}

/* Bytes that only training needs, of all ranks. */
static size_t training_bytes(const model *m)
{
  const qg_owner owners[] = {QG_OWNER_GRADIENTS, QG_OWNER_MOMENTS, QG_OWNER_PROJECTORS};
  size_t bytes = 0;
  for (int s = 0; s < m->stages; s++)
    for (int i = 0; i < QG_COUNT_OF(owners); i++) bytes += qg_mem_bytes(m->ranks[s].mem, owners[i]);
  return bytes;
}

static void there_are_no_gradients_moments_and_projectors(void **state)
{
  (void)state;
  const qg_model_shape shape = shape_of(LAYERS, false);
  const qg_stage_options forward_only = evaluation_options();
  for (int stages = 1; stages <= MOST_STAGES; stages++) {
    model training, evaluation;
    model_open(&training, "bf16", &shape, stages, &training_options);
    model_open(&evaluation, "bf16", &shape, stages, &forward_only);
    evaluated_loss(&evaluation);
    assert_true(training_bytes(&training) > 0);
    assert_int_equal(training_bytes(&evaluation), 0);
    for (int s = 0; s < stages; s++)
      assert_int_equal(qg_mem_bytes(evaluation.ranks[s].mem, QG_OWNER_WEIGHTS),
                       qg_mem_bytes(training.ranks[s].mem, QG_OWNER_WEIGHTS));
    model_close(&evaluation);
    model_close(&training);
  }
}

/* Of one owner in a dry ledger of weights and stage; `part` may be a piece of the model. */
static size_t dry_bytes(qg_dtype compute, const qg_model_shape *shape, const qg_partition *part,
                        const qg_stage_options *options, qg_owner owner)
{
  static const qg_backend_ops table = {.unified_memory = true};
  qg_backend sizing = {.ops = &table, .compute = compute, .update_elements = 1 << 20};
  qg_mem *dry;
  rank r;
  assert_ok(qg_mem_create(NULL, &dry));
  rank_create(&r, &sizing, dry, shape, part, options);
  size_t bytes = qg_mem_bytes(dry, owner);
  rank_destroy(&r);
  qg_mem_destroy(dry);
  return bytes;
}

/* A layer reads one and writes the other. The last one writes the stage's output, which is scratch. */
static void activations_are_two_layer_inputs_whatever_the_layers(void **state)
{
  (void)state;
  const qg_stage_options forward_only = evaluation_options();
  for (int layers = 1; layers <= 8; layers++) {
    const qg_model_shape shape = shape_of(layers, false);
    const qg_partition parts[] = {{.num_layers = layers, .has_embedding = true, .has_head = true},
                                  {.num_layers = layers}};
    size_t input = 2 * TOKENS * HIDDEN, inputs = layers > 1 ? 2 : 1;
    for (int i = 0; i < QG_COUNT_OF(parts); i++) {
      size_t activations = dry_bytes(QG_BF16, &shape, &parts[i], &forward_only, QG_OWNER_ACTIVATIONS);
      size_t of_training = dry_bytes(QG_BF16, &shape, &parts[i], &training_options, QG_OWNER_ACTIVATIONS);
      assert_int_equal(activations, inputs * input);
      assert_true(of_training > (size_t)layers * input);
      assert_int_equal(dry_bytes(QG_F32, &shape, &parts[i], &forward_only, QG_OWNER_ACTIVATIONS),
                       2 * inputs * input);
    }
  }
}

static void its_workspace_does_not_grow_with_the_layers(void **state)
{
  (void)state;
  const qg_stage_options forward_only = evaluation_options();
  size_t workspace[2];
  for (int i = 0; i < 2; i++) {
    const qg_model_shape shape = shape_of(i ? 8 : 2, false);
    const qg_partition whole = {.num_layers = (int)shape.num_layers, .has_embedding = true, .has_head = true};
    qg_mem *dry;
    qg_stage *stage;
    qg_backend sizing = {.compute = QG_BF16};
    assert_ok(qg_mem_create(NULL, &dry));
    assert_ok(qg_stage_create(dry, &sizing, &shape, &whole, &forward_only, &stage));
    workspace[i] = qg_mem_bytes(dry, QG_OWNER_WORKSPACE);
    qg_stage_destroy(stage);
    qg_mem_destroy(dry);
  }
  assert_int_equal(workspace[0], workspace[1]);
}

static void a_dry_ledger_counts_what_is_used(void **state)
{
  (void)state;
  const qg_model_shape shape = shape_of(LAYERS, true);
  const qg_partition whole = {.num_layers = LAYERS, .has_embedding = true, .has_head = true};
  const qg_stage_options forward_only = evaluation_options();
  qg_backend_request request = {.name = "cpu", .precision = "bf16", .threads = 1};
  qg_backend *be;
  qg_mem *live;
  rank r;
  assert_ok(qg_backend_open(&request, &be));
  assert_ok(qg_mem_create(be, &live));
  rank_create(&r, be, live, &shape, &whole, &forward_only);
  for (int owner = 0; owner < QG_OWNER_COUNT; owner++)
    assert_int_equal(dry_bytes(QG_BF16, &shape, &whole, &forward_only, (qg_owner)owner),
                     qg_mem_bytes(live, (qg_owner)owner));
  rank_destroy(&r);
  qg_mem_destroy(live);
  qg_backend_close(be);
}

static void a_stage_that_only_evaluates_has_no_backward(void **state)
{
  (void)state;
  const qg_model_shape shape = shape_of(LAYERS, false);
  const qg_stage_options forward_only = evaluation_options();
  model m;
  model_open(&m, "fp32", &shape, 1, &forward_only);
  const rank *r = &m.ranks[0];
  const qg_weight_reader *weights = qg_weights_reader(r->weights);
  const qg_gradient_port gradients = {0};
  qg_view view = {0};
  assert_int_equal(qg_stage_forward(r->stage, weights, 0, m.ids, &view), QG_ERR_RUNTIME);
  assert_ok(qg_stage_evaluate(r->stage, weights, 0, m.ids, &view));
  assert_int_equal(qg_stage_loss(r->stage, weights, &gradients, 0, m.targets, 1.0f, m.loss), QG_ERR_RUNTIME);
  assert_int_equal(qg_stage_backward(r->stage, weights, &gradients, 0, m.ids, view, &view), QG_ERR_RUNTIME);
  assert_ok(qg_stage_loss(r->stage, weights, NULL, 0, m.targets, 0.0f, m.loss));
  model_close(&m);
}

static void it_has_one_slot(void **state)
{
  (void)state;
  const qg_model_shape shape = shape_of(LAYERS, false);
  const qg_partition middle = {.num_layers = LAYERS};
  qg_stage_options two = evaluation_options();
  qg_backend sizing = {.compute = QG_BF16};
  qg_mem *dry;
  qg_stage *stage;
  two.slots = 2;
  assert_ok(qg_mem_create(NULL, &dry));
  assert_int_equal(qg_stage_create(dry, &sizing, &shape, &middle, &two, &stage), QG_ERR_RUNTIME);
  assert_null(stage);
  qg_mem_destroy(dry);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_is_that_of_the_training_stage),
      cmocka_unit_test(there_are_no_gradients_moments_and_projectors),
      cmocka_unit_test(activations_are_two_layer_inputs_whatever_the_layers),
      cmocka_unit_test(its_workspace_does_not_grow_with_the_layers),
      cmocka_unit_test(a_dry_ledger_counts_what_is_used),
      cmocka_unit_test(a_stage_that_only_evaluates_has_no_backward),
      cmocka_unit_test(it_has_one_slot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
