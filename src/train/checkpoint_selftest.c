#include "train/checkpoint_selftest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

/* Enough to pass through every weight. A token costs little, unpacking the weights costs most. */
enum { SELFTEST_TOKENS = 16 };

/* Relative, for the loss where bits may differ. Sums of fp32 products in another order differ by some 1e-7 a
 * token. Activations in bf16 have 8 bits: 2^-9 a token, and less in the mean. */
static const double tolerance_fp32 = 1e-5, tolerance_bf16 = 0.005;

static void draw_ids(qg_selftest *test)
{
  const qg_config *c = test->use.config;
  qg_rng rng = {(uint64_t)c->train.seed, 0, 0, QG_RNG_SELFTEST};
  for (int64_t i = 0; i <= test->tokens; i++)
    test->ids[i] = (int32_t)(qg_rng_draw(rng, (uint64_t)i / 4).v[i % 4] % (uint64_t)c->model.vocab_size);
}

static qg_status create_stage(qg_selftest *test)
{
  const qg_selftest_request *use = &test->use;
  qg_stage_options options = {.micro_batch = 1,
                              .sequence_length = test->tokens,
                              .logit_chunk_tokens = test->tokens,
                              .forward_only = true,
                              .slots = 1};
  return qg_stage_create(use->mem, use->be, &use->config->model, use->part, &options, &test->stage);
}

static qg_status create_channel(const qg_selftest *test, int peer, bool receives, qg_channel *channel)
{
  const qg_selftest_request *use = &test->use;
  qg_channel_request request = {.peer = peer < use->stages ? peer : -1,
                                .tag = QG_TAG_SELFTEST,
                                .receives = receives,
                                .device_pointers = use->device_pointers,
                                .type = use->be->compute,
                                .elements = test->tokens * use->config->model.hidden_size};
  return qg_channel_create(use->mem, use->par, use->be, &request, channel);
}

qg_status qg_selftest_create(const qg_selftest_request *request, qg_selftest *test)
{
  qg_mem *mem = request->mem;
  *test = (qg_selftest){.use = *request,
                        .tokens = qg_min_i64(SELFTEST_TOKENS, request->config->train.sequence_length)};
  size_t bytes = qg_dtype_bytes(QG_I32, test->tokens + 1);
  QG_TRY(qg_mem_alloc_host(mem, QG_OWNER_CHECKPOINT, "tokens of the self-test", bytes, (void **)&test->ids));
  QG_TRY(create_stage(test));
  QG_TRY(create_channel(test, request->stage_index - 1, true, &test->received));
  QG_TRY(create_channel(test, request->stage_index + 1, false, &test->to_send));
  if (qg_mem_is_dry(mem)) return QG_OK;
  draw_ids(test);
  return qg_stage_init(test->stage);
}

void qg_selftest_destroy(qg_selftest *test)
{
  qg_channel_destroy(&test->received);
  qg_channel_destroy(&test->to_send);
  qg_stage_destroy(test->stage);
}

qg_state_entry qg_selftest_entry(const qg_selftest *test)
{
  return (qg_state_entry){.dataset = "probe/tokens",
                          .type = QG_I32,
                          .items = 1,
                          .elements = test->tokens + 1,
                          .data = test->ids,
                          .owner = test->use.stage_index == 0};
}

static qg_status upload(const qg_selftest *test, int32_t *device, const int32_t *ids)
{
  qg_backend *be = test->use.be;
  return device ? be->ops->copy_in(be, device, ids, qg_dtype_bytes(QG_I32, test->tokens)) : QG_OK;
}

static qg_status forward(qg_selftest *test)
{
  const qg_selftest_request *use = &test->use;
  qg_view out;
  QG_TRY(upload(test, use->inputs, test->ids));
  QG_TRY(qg_channel_begin(&test->received, 1));
  QG_TRY(qg_channel_begin(&test->to_send, 1));
  if (!use->part->has_embedding)
    QG_TRY(qg_channel_receive(&test->received, qg_stage_input(test->stage, 0).data));
  QG_TRY(qg_stage_evaluate(test->stage, use->weights, 0, use->inputs, &out));
  if (use->part->has_head) return QG_OK;
  QG_TRY(qg_channel_send(&test->to_send, out.data));
  return qg_channel_drain(&test->to_send);
}

static qg_status last_loss(qg_selftest *test, double *loss)
{
  const qg_selftest_request *use = &test->use;
  *loss = 0.0;
  if (!use->part->has_head) return QG_OK;
  QG_TRY(upload(test, use->targets, test->ids + 1));
  QG_TRY(use->be->ops->zero(use->be, use->loss, sizeof *use->loss));
  QG_TRY(qg_stage_loss(test->stage, use->weights, NULL, 0, use->targets, 0.0f, use->loss));
  return use->be->ops->copy_out(use->be, loss, use->loss, sizeof *use->loss);
}

qg_status qg_selftest_loss(qg_selftest *test, double *loss)
{
  *loss = NAN;
  if (!test->stage) return QG_OK;
  QG_TRY(forward(test));
  QG_TRY(last_loss(test, loss));
  QG_TRY(qg_par_sum(test->use.par, loss, 1));
  *loss /= (double)test->tokens;
  return QG_OK;
}

void qg_selftest_arrangement(const qg_config *config, const qg_backend *be, char text[QG_ARRANGEMENT])
{
  snprintf(text, QG_ARRANGEMENT, "%s, %s, threads %d, qgalore_hpc %s (%s)", config->backend.precision,
           be->description, be->threads, QG_VERSION, QG_GIT);
}

static bool is_fp32(const char *arrangement)
{
  return strncmp(arrangement, "fp32,", 5) == 0;
}

static bool is_close(double a, double b, double tolerance)
{
  return isfinite(a) ? fabs(a - b) <= tolerance * fabs(a) : !isfinite(b);
}

qg_status qg_selftest_check(qg_selftest *test, const qg_ckpt_meta *saved)
{
  double loss;
  char here[QG_ARRANGEMENT];
  if (!test->stage || isnan(saved->selftest_loss)) return QG_OK;
  QG_TRY(qg_selftest_loss(test, &loss));
  qg_selftest_arrangement(test->use.config, test->use.be, here);
  bool alike = strcmp(here, saved->arrangement) == 0;
  double tolerance = is_fp32(here) && is_fp32(saved->arrangement) ? tolerance_fp32 : tolerance_bf16;
  bool same = alike ? memcmp(&loss, &saved->selftest_loss, sizeof loss) == 0
                    : is_close(saved->selftest_loss, loss, tolerance);
  QG_CHECK(same, QG_ERR_CHECKPOINT,
           "the self-test of the checkpoint had a loss of %.17g when it was saved, and has %.17g after "
           "loading%s; the "
           "weights are not those that were saved, or this machine computes something else "
           "(checkpoint.selftest=no "
           "goes on all the same)",
           saved->selftest_loss, loss, alike ? " on the same arrangement" : "");
  return QG_OK;
}
