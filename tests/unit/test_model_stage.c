/* What is promised: the memory that a stage takes, dry or live, and the mistakes that it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "qgalore/model.h"
#include "support/fixtures/assert_ok.h"

enum { HIDDEN = 64, INTERMEDIATE = 192, LAYERS = 4, HEADS = 4, VOCAB = 1000, TOKENS = 4 * 32 };

static qg_model_shape small_shape(void)
{
  return (qg_model_shape){.hidden_size = HIDDEN,
                          .intermediate_size = INTERMEDIATE,
                          .num_layers = LAYERS,
                          .num_heads = HEADS,
                          .num_kv_heads = HEADS,
                          .vocab_size = VOCAB,
                          .rope_theta = 10000,
                          .rms_norm_eps = 1e-6};
}

static qg_stage_options small_options(void)
{
  return (qg_stage_options){.micro_batch = 4, .sequence_length = 32, .logit_chunk_tokens = 16, .slots = 1};
}

static const qg_partition whole = {.num_layers = LAYERS, .has_embedding = true, .has_head = true};
static const qg_partition middle = {.first_layer = 1, .num_layers = 2};
static const qg_partition only_embedding = {.has_embedding = true};
static const qg_partition only_head = {.first_layer = LAYERS, .has_head = true};

typedef struct {
  size_t owner[QG_OWNER_COUNT];
  int64_t allocations;
} usage;

/* What a stage takes from the ledger of `be`; NULL counts dry. */
static usage taken(qg_backend *live, qg_dtype compute, const qg_partition *part,
                   const qg_stage_options *options)
{
  qg_backend sizing = {.compute = compute};
  qg_model_shape shape = small_shape();
  qg_mem *mem;
  qg_stage *stage;
  usage result = {0};
  assert_ok(qg_mem_create(live, &mem));
  assert_ok(qg_stage_create(mem, live ? live : &sizing, &shape, part, options, &stage));
  for (int i = 0; i < QG_OWNER_COUNT; i++) result.owner[i] = qg_mem_bytes(mem, (qg_owner)i);
  result.allocations = qg_mem_allocations(mem);
  qg_stage_destroy(stage);
  qg_mem_destroy(mem);
  return result;
}

static usage taken_dry(const qg_partition *part, const qg_stage_options *options)
{
  return taken(NULL, QG_BF16, part, options);
}

static void what_is_predicted_is_what_is_used(void **state)
{
  (void)state;
  const qg_partition *const parts[] = {&whole, &middle, &only_embedding, &only_head};
  qg_backend_request request = {.name = "cpu", .precision = "bf16", .threads = 1};
  qg_backend *be;
  assert_ok(qg_backend_open(&request, &be));
  for (int i = 0; i < 8; i++) {
    qg_stage_options options = small_options();
    options.checkpointing = i / 4;
    options.slots = 1 + i % 2;
    usage dry = taken_dry(parts[i % 4], &options), live = taken(be, QG_BF16, parts[i % 4], &options);
    assert_memory_equal(&dry, &live, sizeof dry);
  }
  qg_backend_close(be);
}

static void a_stage_takes_activations_and_workspace_only(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  usage u = taken_dry(&whole, &options);
  for (int i = 0; i < QG_OWNER_COUNT; i++) {
    bool owned = i == QG_OWNER_ACTIVATIONS || i == QG_OWNER_WORKSPACE;
    assert_true(owned == (u.owner[i] > 0));
  }
}

/* Per token: the residual stream in and between, q, k, v, attention; gate and up; two rstd and a lse a head.
 */
static void a_layer_keeps_what_backward_needs(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  size_t per_token = 2 * (6 * HIDDEN + 2 * INTERMEDIATE) + 4 * (2 + HEADS);
  assert_int_equal(taken_dry(&middle, &options).owner[QG_OWNER_ACTIVATIONS], 2 * TOKENS * per_token);
  options.slots = 3;
  assert_int_equal(taken_dry(&middle, &options).owner[QG_OWNER_ACTIVATIONS], 3 * 2 * TOKENS * per_token);
}

static void checkpointing_keeps_layer_inputs_only(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  options.checkpointing = true;
  options.slots = 3;
  assert_int_equal(taken_dry(&middle, &options).owner[QG_OWNER_ACTIVATIONS], 3 * 2 * TOKENS * 2 * HIDDEN);
}

static void checkpointing_shares_one_layer_between_all_slots(void **state)
{
  (void)state;
  qg_stage_options one = small_options(), three = one;
  one.checkpointing = three.checkpointing = true;
  three.slots = 3;
  assert_int_equal(taken_dry(&middle, &one).owner[QG_OWNER_WORKSPACE],
                   taken_dry(&middle, &three).owner[QG_OWNER_WORKSPACE]);
}

/* Four streams (norm, its gradient, output, and on a stage without head the gradient of the stream), the
 * final rstd, and f32 logits beside bf16 gradients. */
static void the_logits_of_a_micro_batch_are_never_alive(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  size_t streams = 3 * TOKENS * HIDDEN * 2 + TOKENS * 4;
  assert_int_equal(taken_dry(&only_head, &options).owner[QG_OWNER_WORKSPACE], streams + 16 * VOCAB * (4 + 2));
}

static void fp32_gradients_of_logits_replace_the_logits(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  size_t streams = 3 * TOKENS * HIDDEN * 4 + TOKENS * 4;
  usage u = taken(NULL, QG_F32, &only_head, &options);
  assert_int_equal(u.owner[QG_OWNER_WORKSPACE], streams + 16 * VOCAB * 4);
}

static void the_loss_shares_scratch_with_the_layers(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  qg_partition with_layers = {.num_layers = LAYERS, .has_head = true};
  size_t rope = 2 * 4 * 32 * (HIDDEN / HEADS / 2);
  assert_int_equal(taken_dry(&with_layers, &options).owner[QG_OWNER_WORKSPACE],
                   taken_dry(&only_head, &options).owner[QG_OWNER_WORKSPACE] + rope);
}

/* Of a checkpointed layer: gate, up and five streams, then the product, in whose place norms lie. Logits and
 * the stage's output, which are smaller, come for nothing; gradients of q, k and v lie where gate and up
 * were. */
static void a_checkpointed_layer_shares_scratch_with_all_that_is_not_alive_beside_it(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  options.checkpointing = true;
  size_t layer = TOKENS * (2 * (2 * INTERMEDIATE + 5 * HIDDEN) + 4 * (2 + HEADS));
  size_t product = TOKENS * 2 * INTERMEDIATE, final_norm = TOKENS * 4;
  size_t rope = 2 * 4 * 32 * (HIDDEN / HEADS / 2);
  assert_int_equal(taken_dry(&whole, &options).owner[QG_OWNER_WORKSPACE],
                   layer + product + final_norm + rope);
}

static void an_embedding_alone_needs_its_output_and_its_gradient(void **state)
{
  (void)state;
  qg_stage_options options = small_options();
  usage u = taken_dry(&only_embedding, &options);
  assert_int_equal(u.owner[QG_OWNER_ACTIVATIONS], 0);
  assert_int_equal(u.owner[QG_OWNER_WORKSPACE], 2 * TOKENS * HIDDEN * 2);
}

static void heads_that_do_not_fit_are_refused(void **state)
{
  (void)state;
  const struct {
    int64_t heads, kv_heads;
    const char *says;
  } wrong[] = {{5, 5, "5 heads"}, {4, 3, "3 key/value heads"}, {64, 64, "must be even"}};
  qg_backend sizing = {.compute = QG_BF16};
  qg_stage_options options = small_options();
  for (int i = 0; i < 3; i++) {
    qg_model_shape shape = small_shape();
    qg_mem *mem;
    qg_stage *stage;
    shape.num_heads = wrong[i].heads;
    shape.num_kv_heads = wrong[i].kv_heads;
    assert_ok(qg_mem_create(NULL, &mem));
    assert_int_equal(qg_stage_create(mem, &sizing, &shape, &whole, &options, &stage), QG_ERR_INPUT);
    assert_non_null(strstr(qg_error_message(), wrong[i].says));
    assert_null(stage);
    qg_mem_destroy(mem);
  }
}

static void calls_that_break_the_contract_are_refused(void **state)
{
  (void)state;
  qg_backend sizing = {.compute = QG_BF16};
  qg_stage_options options = small_options();
  qg_model_shape shape = small_shape();
  qg_weight_reader weights = {0};
  qg_gradient_port gradients = {0};
  qg_mem *mem;
  qg_stage *stage;
  qg_view view = {0};
  assert_ok(qg_mem_create(NULL, &mem));
  assert_ok(qg_stage_create(mem, &sizing, &shape, &middle, &options, &stage));
  assert_int_equal(qg_stage_forward(stage, &weights, 1, NULL, &view), QG_ERR_RUNTIME);
  assert_int_equal(qg_stage_backward(stage, &weights, &gradients, -1, NULL, view, &view), QG_ERR_RUNTIME);
  assert_int_equal(qg_stage_loss(stage, &weights, &gradients, 0, NULL, 1.0f, NULL), QG_ERR_RUNTIME);
  qg_stage_destroy(stage);
  qg_mem_destroy(mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_predicted_is_what_is_used),
      cmocka_unit_test(a_stage_takes_activations_and_workspace_only),
      cmocka_unit_test(a_layer_keeps_what_backward_needs),
      cmocka_unit_test(checkpointing_keeps_layer_inputs_only),
      cmocka_unit_test(checkpointing_shares_one_layer_between_all_slots),
      cmocka_unit_test(the_logits_of_a_micro_batch_are_never_alive),
      cmocka_unit_test(fp32_gradients_of_logits_replace_the_logits),
      cmocka_unit_test(the_loss_shares_scratch_with_the_layers),
      cmocka_unit_test(a_checkpointed_layer_shares_scratch_with_all_that_is_not_alive_beside_it),
      cmocka_unit_test(an_embedding_alone_needs_its_output_and_its_gradient),
      cmocka_unit_test(heads_that_do_not_fit_are_refused),
      cmocka_unit_test(calls_that_break_the_contract_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
