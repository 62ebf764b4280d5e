/* What is promised: the catalogue of parameters, FLOPs, and the partition of a model over pipeline stages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/llama/roles.h"
#include "qgalore/base.h"
#include "qgalore/model.h"

static qg_model_shape shape_of(int64_t hidden, int64_t intermediate, int64_t layers, int64_t heads)
{
  return (qg_model_shape){.hidden_size = hidden,
                          .intermediate_size = intermediate,
                          .num_layers = layers,
                          .num_heads = heads,
                          .num_kv_heads = heads,
                          .vocab_size = 32000,
                          .rope_theta = 10000,
                          .rms_norm_eps = 1e-6};
}

static qg_model_shape llama_60m(void)
{
  return shape_of(512, 1376, 8, 8);
}

static bool close_to(double a, double b, double relative)
{
  return fabs(a - b) <= relative * fabs(b);
}

static void published_sizes_are_met(void **state)
{
  (void)state;
  struct {
    qg_model_shape shape;
    double millions;
  } published[] = {{shape_of(512, 1376, 8, 8), 58.07},
                   {shape_of(768, 2048, 12, 12), 134.11},
                   {shape_of(1024, 2736, 24, 16), 367.97},
                   {shape_of(2048, 5461, 24, 32), 1339.08},
                   {shape_of(4096, 11008, 32, 32), 6738.42}};
  for (int i = 0; i < QG_COUNT_OF(published); i++) {
    double millions = (double)qg_model_parameters(&published[i].shape) * 1e-6;
    assert_true(close_to(millions, published[i].millions, 2e-4));
  }
}

static void a_tied_head_is_counted_once(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m(), tied = shape;
  tied.tie_embeddings = true;
  assert_int_equal(qg_model_parameters(&shape) - qg_model_parameters(&tied), 32000 * 512);
  assert_int_equal(qg_model_param_count(&tied), qg_model_param_count(&shape) - 1);
  assert_int_equal(qg_llama_param(&tied, QG_ROLE_HEAD, -1), qg_llama_param(&tied, QG_ROLE_EMBED, -1));
}

static bool is_in_layers(qg_role role)
{
  return role >= QG_ROLE_ATTN_NORM && role <= QG_ROLE_DOWN;
}

/* Counts the index of a role in a layer, or outside layers at layer -1. */
static void count_index(const qg_model_shape *shape, qg_role role, int layer, int *seen)
{
  int index = qg_llama_param(shape, role, layer);
  assert_in_range(index, 0, qg_model_param_count(shape) - 1);
  assert_int_equal(qg_model_param(shape, index).layer, layer);
  assert_int_equal(qg_model_param(shape, index).id, index);
  seen[index]++;
}

static void roles_and_layers_give_every_index_once(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  int seen[1 + 8 * QG_LAYER_PARAMS + 2] = {0};
  assert_int_equal(qg_model_param_count(&shape), QG_COUNT_OF(seen));
  for (int role = 0; role < QG_ROLE_COUNT; role++)
    for (int layer = 0; layer < (is_in_layers((qg_role)role) ? 8 : 1); layer++)
      count_index(&shape, (qg_role)role, is_in_layers((qg_role)role) ? layer : -1, seen);
  for (int i = 0; i < QG_COUNT_OF(seen); i++) assert_int_equal(seen[i], 1);
}

static void names_and_shapes_are_those_of_hugging_face(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  shape.num_kv_heads = 2;
  struct {
    qg_role role;
    int layer;
    const char *name;
    int64_t rows, cols;
  } expected[] = {{QG_ROLE_EMBED, -1, "model.embed_tokens.weight", 32000, 512},
                  {QG_ROLE_ATTN_NORM, 0, "model.layers.0.input_layernorm.weight", 1, 512},
                  {QG_ROLE_Q, 3, "model.layers.3.self_attn.q_proj.weight", 512, 512},
                  {QG_ROLE_K, 3, "model.layers.3.self_attn.k_proj.weight", 128, 512},
                  {QG_ROLE_V, 3, "model.layers.3.self_attn.v_proj.weight", 128, 512},
                  {QG_ROLE_O, 7, "model.layers.7.self_attn.o_proj.weight", 512, 512},
                  {QG_ROLE_MLP_NORM, 7, "model.layers.7.post_attention_layernorm.weight", 1, 512},
                  {QG_ROLE_GATE, 1, "model.layers.1.mlp.gate_proj.weight", 1376, 512},
                  {QG_ROLE_UP, 1, "model.layers.1.mlp.up_proj.weight", 1376, 512},
                  {QG_ROLE_DOWN, 1, "model.layers.1.mlp.down_proj.weight", 512, 1376},
                  {QG_ROLE_FINAL_NORM, -1, "model.norm.weight", 1, 512},
                  {QG_ROLE_HEAD, -1, "lm_head.weight", 32000, 512}};
  for (int i = 0; i < QG_COUNT_OF(expected); i++) {
    qg_param param = qg_model_param(&shape, qg_llama_param(&shape, expected[i].role, expected[i].layer));
    assert_string_equal(param.name, expected[i].name);
    assert_int_equal(param.layer, expected[i].layer);
    assert_int_equal(param.rows, expected[i].rows);
    assert_int_equal(param.cols, expected[i].cols);
  }
}

static void flops_follow_the_convention_of_the_log(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  double matrices = 8.0 * (4 * 512 * 512 + 3 * 512 * 1376) + 32000.0 * 512;
  assert_true(close_to(qg_model_flops_per_token(&shape, 256), 6 * matrices + 6.0 * 8 * 512 * 256, 1e-12));
}

/* Contiguous, complete, with the ends where they belong, and costs that add up to the whole. */
static void assert_covers(const qg_model_shape *shape, const qg_partition *parts, int stages)
{
  int next = 0;
  double cost = 0;
  for (int s = 0; s < stages; s++) {
    assert_int_equal(parts[s].first_layer, next);
    assert_int_equal(parts[s].has_embedding, s == 0);
    assert_int_equal(parts[s].has_head, s == stages - 1);
    assert_true(parts[s].num_layers > 0 || s == 0 || s == stages - 1);
    next += parts[s].num_layers;
    cost += parts[s].cost;
  }
  assert_int_equal(next, shape->num_layers);
  assert_true(close_to(cost, qg_model_flops_per_token(shape, 256), 1e-12));
}

static double bottleneck(const qg_partition *parts, int stages)
{
  double most = 0;
  for (int s = 0; s < stages; s++) most = fmax(most, parts[s].cost);
  return most;
}

/* The least bottleneck over every way to cut `layers` into the remaining stages. */
static double least_bottleneck(double layer, double head, int layers, int stages, bool first)
{
  if (stages == 1) return layers * layer + head;
  double least = INFINITY;
  for (int here = first ? 0 : 1; here <= layers; here++) {
    double rest = least_bottleneck(layer, head, layers - here, stages - 1, false);
    if (stages > 2 && layers - here < stages - 2) continue;
    least = fmin(least, fmax(here * layer, rest));
  }
  return least;
}

static void every_number_of_stages_is_covered_and_optimal(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  double head = 6.0 * 32000 * 512, layer = (qg_model_flops_per_token(&shape, 256) - head) / 8;
  qg_partition parts[10];
  for (int stages = 1; stages <= 10; stages++) {
    assert_int_equal(qg_model_partition(&shape, 256, stages, NULL, parts), QG_OK);
    assert_covers(&shape, parts, stages);
    assert_true(close_to(bottleneck(parts, stages), least_bottleneck(layer, head, 8, stages, true), 1e-12));
  }
}

static void assert_layers(const qg_model_shape *shape, int stages, const int *layers)
{
  qg_partition parts[8];
  assert_int_equal(qg_model_partition(shape, 256, stages, NULL, parts), QG_OK);
  for (int s = 0; s < stages; s++) assert_int_equal(parts[s].num_layers, layers[s]);
}

/* At 60M the head costs as much as five layers. */
static void a_heavy_head_gets_a_stage_of_its_own_and_the_others_are_even(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  assert_layers(&shape, 2, (const int[]){6, 2});
  assert_layers(&shape, 3, (const int[]){4, 4, 0});
  assert_layers(&shape, 4, (const int[]){2, 3, 3, 0});
}

static void a_light_head_shares_a_stage_with_layers(void **state)
{
  (void)state;
  qg_model_shape shape = shape_of(4096, 11008, 32, 32);
  assert_layers(&shape, 4, (const int[]){8, 8, 8, 8});
  shape.num_layers = 31;
  assert_layers(&shape, 4, (const int[]){8, 8, 8, 7});
}

static void as_many_stages_as_pieces_give_one_piece_each(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  qg_partition parts[10];
  assert_int_equal(qg_model_partition(&shape, 256, 10, NULL, parts), QG_OK);
  assert_int_equal(parts[0].num_layers, 0);
  for (int s = 1; s < 9; s++) assert_int_equal(parts[s].num_layers, 1);
  assert_int_equal(parts[9].num_layers, 0);
}

static void too_many_stages_name_the_largest_number(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  qg_partition parts[11];
  assert_int_equal(qg_model_partition(&shape, 256, 11, NULL, parts), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "largest number is 10"));
  assert_int_equal(qg_model_partition(&shape, 256, 0, NULL, parts), QG_ERR_INPUT);
}

static void overrides_are_taken_as_they_are(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  qg_partition parts[4];
  assert_int_equal(qg_model_partition(&shape, 256, 4, (const int64_t[]){0, 5, 1, 2}, parts), QG_OK);
  assert_covers(&shape, parts, 4);
  assert_int_equal(parts[1].num_layers, 5);
  assert_int_equal(parts[3].first_layer, 6);
}

static void overrides_that_do_not_fit_are_refused(void **state)
{
  (void)state;
  qg_model_shape shape = llama_60m();
  qg_partition parts[3];
  assert_int_equal(qg_model_partition(&shape, 256, 3, (const int64_t[]){3, 3, 3}, parts), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "sum to 9"));
  assert_int_equal(qg_model_partition(&shape, 256, 3, (const int64_t[]){4, 0, 4}, parts), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "stage 2 of 3"));
  assert_int_equal(qg_model_partition(&shape, 256, 3, (const int64_t[]){9, -2, 1}, parts), QG_ERR_INPUT);
}

enum { STAGES = 4 };

static void expect_homes(const qg_param_list *lists, bool tied)
{
  for (int i = 0; i < lists[0].count; i++) {
    int homes = 0, owners = 0;
    for (int s = 0; s < STAGES; s++) {
      homes += lists[s].params[i].held;
      owners += lists[s].params[i].owned;
    }
    assert_int_equal(homes, tied && i == 0 ? 2 : 1);
    assert_int_equal(owners, 1);
  }
}

static void every_parameter_lives_on_one_stage_and_a_tied_one_on_both_ends(void **state)
{
  (void)state;
  for (int tied = 0; tied <= 1; tied++) {
    qg_model_shape shape = llama_60m();
    qg_partition parts[STAGES];
    qg_param_list lists[STAGES];
    shape.tie_embeddings = tied;
    assert_int_equal(qg_model_partition(&shape, 256, STAGES, NULL, parts), QG_OK);
    for (int s = 0; s < STAGES; s++) {
      assert_int_equal(qg_model_params(&shape, &parts[s], &lists[s]), QG_OK);
      assert_int_equal(lists[s].count, qg_model_param_count(&shape));
    }
    expect_homes(lists, tied);
    for (int s = 0; s < STAGES; s++) free(lists[s].params);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_sizes_are_met),
      cmocka_unit_test(a_tied_head_is_counted_once),
      cmocka_unit_test(roles_and_layers_give_every_index_once),
      cmocka_unit_test(names_and_shapes_are_those_of_hugging_face),
      cmocka_unit_test(flops_follow_the_convention_of_the_log),
      cmocka_unit_test(every_number_of_stages_is_covered_and_optimal),
      cmocka_unit_test(a_heavy_head_gets_a_stage_of_its_own_and_the_others_are_even),
      cmocka_unit_test(a_light_head_shares_a_stage_with_layers),
      cmocka_unit_test(as_many_stages_as_pieces_give_one_piece_each),
      cmocka_unit_test(too_many_stages_name_the_largest_number),
      cmocka_unit_test(overrides_are_taken_as_they_are),
      cmocka_unit_test(overrides_that_do_not_fit_are_refused),
      cmocka_unit_test(every_parameter_lives_on_one_stage_and_a_tied_one_on_both_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
