/* State for checkpoints: one list on every partition, and a loaded optimizer goes on with the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"

enum { TOKENS = 16, MICRO_BATCHES = 2, MAX_STAGES = 3 };

/* A model on one or more stages. */
typedef struct {
  fixture stage[MAX_STAGES];
  int stages;
} pipeline;

static void pipeline_open(pipeline *run, qg_optim_options options, bool tied, int stages)
{
  const qg_partition one[] = {{.num_layers = 2, .has_embedding = true, .has_head = true}};
  const qg_partition two[] = {{.num_layers = 1, .has_embedding = true},
                              {.first_layer = 1, .num_layers = 1, .has_head = true}};
  const qg_partition three[] = {
      {.has_embedding = true}, {.num_layers = 2}, {.first_layer = 2, .has_head = true}};
  const qg_partition *parts[] = {one, two, three};
  run->stages = stages;
  for (int s = 0; s < stages; s++) {
    fixture *f = &run->stage[s];
    *f = (fixture){.shape = small_shape(), .options = options};
    f->shape.tie_embeddings = tied;
    fixture_open(f, &parts[stages - 1][s], "fp32", TOKENS, MICRO_BATCHES);
  }
}

static void pipeline_close(pipeline *run)
{
  for (int s = 0; s < run->stages; s++) fixture_close(&run->stage[s]);
}

/* The embedding part of the first stage goes to the last, the head part the other way. */
static void exchange_tied(pipeline *run)
{
  fixture *first = &run->stage[0], *last = &run->stage[run->stages - 1];
  qg_view embedding[2], head[2];
  if (run->stages == 1 || !first->shape.tie_embeddings) return;
  assert_ok(qg_optim_tied_gradients(first->optim, &embedding[0], &head[0]));
  assert_ok(qg_optim_tied_gradients(last->optim, &embedding[1], &head[1]));
  int64_t count = embedding[0].rows * embedding[0].cols;
  float *embedding_part = floats_out(first, embedding[0].data, count);
  float *head_part = floats_out(last, head[1].data, count);
  put(last, embedding[1].data, embedding_part, count);
  put(first, head[0].data, head_part, count);
  free(embedding_part);
  free(head_part);
}

static void pipeline_step(pipeline *run, int64_t step)
{
  for (int s = 0; s < run->stages; s++) noise_gradients(&run->stage[s], step);
  exchange_tied(run);
  for (int s = 0; s < run->stages; s++) assert_ok(qg_optim_apply(run->stage[s].optim, 0.01, 0.7));
}

/* Entry `index` of a pipeline, from a stage that holds it. */
static const qg_state_entry *held_entry(pipeline *run, int index, fixture **holder)
{
  for (int s = 0; s < run->stages; s++) {
    int count;
    const qg_state_entry *entry = entries_of(&run->stage[s], &count) + index;
    if (!entry->data || !entry->owner) continue;
    *holder = &run->stage[s];
    return entry;
  }
  fail_msg("entry %d belongs to nobody", index);
  return NULL;
}

static void assert_same_state(pipeline *a, pipeline *b)
{
  int count;
  entries_of(&a->stage[0], &count);
  for (int i = 0; i < count; i++) {
    fixture *f = NULL, *g = NULL;
    const qg_state_entry *x = held_entry(a, i, &f), *y = held_entry(b, i, &g);
    void *p = entry_out(f, x), *q = entry_out(g, y);
    if (memcmp(p, q, entry_bytes(x)) != 0) fail_msg("%s[%d] differs", x->dataset, (int)x->item);
    free(p);
    free(q);
  }
}

static void assert_partitions_agree(bool tied)
{
  pipeline one, two, three;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.update_gap = 2;
  pipeline_open(&one, options, tied, 1);
  pipeline_open(&two, options, tied, 2);
  pipeline_open(&three, options, tied, 3);
  for (int64_t step = 0; step < 4; step++) {
    pipeline_step(&one, step);
    pipeline_step(&two, step);
    pipeline_step(&three, step);
  }
  assert_same_state(&one, &two);
  assert_same_state(&one, &three);
  pipeline_close(&one);
  pipeline_close(&two);
  pipeline_close(&three);
}

static void steps_on_every_partition_give_the_same_bits(void **state)
{
  (void)state;
  assert_partitions_agree(false);
}

static void tied_embeddings_too(void **state)
{
  (void)state;
  assert_partitions_agree(true);
}

static void both_holders_of_a_tied_embedding_stay_equal(void **state)
{
  (void)state;
  pipeline run;
  pipeline_open(&run, options_of(QG_METHOD_QGALORE), true, 2);
  pipeline_step(&run, 0);
  const qg_param *p = param_at(&run.stage[0], 0), *q = param_at(&run.stage[1], 0);
  float *first = weight_out(&run.stage[0], p), *last = weight_out(&run.stage[1], q);
  assert_memory_equal(first, last, (size_t)qg_param_elements(p) * sizeof *first);
  free(first);
  free(last);
  pipeline_close(&run);
}

static void a_tied_embedding_is_counted_once(void **state)
{
  (void)state;
  pipeline run;
  double sums[2] = {-1.0, -1.0}, *all;
  pipeline_open(&run, options_of(QG_METHOD_QGALORE), true, 2);
  for (int s = 0; s < 2; s++) noise_gradients(&run.stage[s], 0);
  exchange_tied(&run);
  for (int s = 0; s < 2; s++) {
    all = calloc((size_t)param_count(&run.stage[s]), sizeof *all);
    assert_non_null(all);
    all[0] = -1.0;
    assert_ok(qg_optim_norms(run.stage[s].optim, all));
    sums[s] = all[0];
    free(all);
  }
  assert_true(sums[0] > 0.0);
  assert_true(sums[1] == -1.0);
  pipeline_close(&run);
}

static void assert_same_description(const qg_state_entry *a, const qg_state_entry *b)
{
  assert_string_equal(a->dataset, b->dataset);
  assert_int_equal(a->type, b->type);
  assert_int_equal(a->items, b->items);
  assert_int_equal(a->item, b->item);
  assert_int_equal(a->elements, b->elements);
  assert_int_equal(a->on_device, b->on_device);
}

static void every_rank_lists_the_same_entries_and_one_owns_each(void **state)
{
  (void)state;
  pipeline one, three;
  pipeline_open(&one, options_of(QG_METHOD_QGALORE), true, 1);
  pipeline_open(&three, options_of(QG_METHOD_QGALORE), true, 3);
  int want, count;
  const qg_state_entry *all = entries_of(&one.stage[0], &want);
  for (int i = 0; i < want; i++) {
    int owners = 0, holders = 0;
    for (int s = 0; s < 3; s++) {
      const qg_state_entry *entry = entries_of(&three.stage[s], &count) + i;
      assert_int_equal(count, want);
      assert_same_description(entry, &all[i]);
      owners += entry->owner;
      holders += entry->data != NULL;
    }
    assert_int_equal(owners, 1);
    assert_int_equal(holders, strstr(all[i].dataset, "embed_tokens") ? 2 : 1);
    assert_true(all[i].owner && all[i].data);
  }
  pipeline_close(&one);
  pipeline_close(&three);
}

static void assert_entry(fixture *f, const char *dataset, qg_dtype type, int64_t items, int64_t elements)
{
  const qg_state_entry *entry = find_entry(f, dataset, items - 1);
  assert_non_null(entry);
  assert_int_equal(entry->type, type);
  assert_int_equal(entry->items, items);
  assert_int_equal(entry->elements, elements);
}

static void datasets_are_stacked_over_layers(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  assert_entry(&f, "weights/self_attn.q_proj/codes", QG_U8, 2, 96 * 96);
  assert_entry(&f, "weights/self_attn.q_proj/scale", QG_F32, 2, 36);
  assert_entry(&f, "weights/self_attn.q_proj/zero", QG_U8, 2, 36);
  assert_entry(&f, "weights/input_layernorm/values", QG_F32, 2, 96);
  assert_entry(&f, "weights/embed_tokens/values", QG_F32, 1, 150 * 96);
  assert_entry(&f, "weights/norm/values", QG_F32, 1, 96);
  assert_entry(&f, "weights/lm_head/values", QG_F32, 1, 150 * 96);
  assert_entry(&f, "projector/mlp.down_proj/codes", QG_U4, 2, 96 * 24);
  assert_entry(&f, "moments/mlp.down_proj/m_codes", QG_U8, 2, 24 * 288);
  assert_entry(&f, "moments/self_attn.q_proj/v", QG_F32, 2, 96 * 24);
  assert_entry(&f, "tracker/mlp.down_proj/queue", QG_F32, 2, QG_TRACKER_WINDOW_MAX);
  fixture_close(&f);
}

static void copy_state(fixture *from, fixture *to)
{
  int count;
  const qg_state_entry *source = entries_of(from, &count), *target = entries_of(to, &count);
  for (int i = 0; i < count; i++) {
    void *bytes = entry_out(from, &source[i]);
    if (target[i].on_device)
      assert_ok(to->counter.ops.copy_in(to->be, target[i].data, bytes, entry_bytes(&target[i])));
    else
      memcpy(target[i].data, bytes, entry_bytes(&target[i]));
    assert_ok(to->counter.ops.sync(to->be));
    free(bytes);
  }
  assert_ok(qg_optim_state_loaded(to->optim));
}

/* Straight: steps 0 .. 5. Restarted: the state after step 2 goes into a fresh optimizer. */
static void assert_restart(qg_method method)
{
  fixture straight = {.shape = small_shape(), .options = options_of(method)};
  straight.options.update_gap = 2;
  qg_partition part = whole(&straight.shape);
  fixture restarted = straight;
  restarted.options.subspace.threads = 2; /* must not matter */
  fixture_open(&straight, &part, "fp32", TOKENS, 1);
  fixture_open(&restarted, &part, "fp32", TOKENS, 1);
  for (int64_t step = 0; step < 3; step++) noise_step(&straight, step, 0.01);
  copy_state(&straight, &restarted);
  for (int64_t step = 3; step < 6; step++) {
    noise_step(&straight, step, 0.01);
    noise_step(&restarted, step, 0.01);
  }
  assert_int_equal(state_digest(&straight), state_digest(&restarted));
  fixture_close(&straight);
  fixture_close(&restarted);
}

static void a_restart_goes_on_with_the_same_bits(void **state)
{
  (void)state;
  assert_restart(QG_METHOD_ADAMW);
  assert_restart(QG_METHOD_ADAM8BIT);
  assert_restart(QG_METHOD_GALORE);
  assert_restart(QG_METHOD_QGALORE);
}

static void loading_renews_the_norms_that_the_model_reads(void **state)
{
  (void)state;
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "bf16", TOKENS, 1);
  const qg_state_entry *entry = find_entry(&f, "weights/norm/values", 0);
  float *gains = malloc(96 * sizeof *gains);
  assert_non_null(gains);
  for (int i = 0; i < 96; i++) gains[i] = 3.0f;
  put(&f, entry->data, gains, 96);
  assert_ok(qg_optim_state_loaded(f.optim));
  qg_view view = read_weight(&f, param_of(&f, QG_ROLE_FINAL_NORM, -1));
  uint16_t *read = copied_out(&f, view.data, 96 * sizeof *read);
  assert_true(qg_bf16_to_float(read[95]) == 3.0f);
  free(read);
  free(gains);
  fixture_close(&f);
}

static void a_damaged_tracker_is_refused(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  int64_t *interval = find_entry(&f, "tracker/mlp.up_proj/interval", 1)->data;
  int32_t *count = find_entry(&f, "tracker/mlp.up_proj/count", 0)->data;
  *interval = 0;
  assert_int_equal(qg_optim_state_loaded(f.optim), QG_ERR_CHECKPOINT);
  *interval = 10;
  *count = QG_TRACKER_WINDOW_MAX + 1;
  assert_int_equal(qg_optim_state_loaded(f.optim), QG_ERR_CHECKPOINT);
  *count = 0;
  assert_ok(qg_optim_state_loaded(f.optim));
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_on_every_partition_give_the_same_bits),
      cmocka_unit_test(tied_embeddings_too),
      cmocka_unit_test(both_holders_of_a_tied_embedding_stay_equal),
      cmocka_unit_test(a_tied_embedding_is_counted_once),
      cmocka_unit_test(every_rank_lists_the_same_entries_and_one_owns_each),
      cmocka_unit_test(datasets_are_stacked_over_layers),
      cmocka_unit_test(a_restart_goes_on_with_the_same_bits),
      cmocka_unit_test(loading_renews_the_norms_that_the_model_reads),
      cmocka_unit_test(a_damaged_tracker_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
