#include "train/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"
#include "train/trainer.h"

/* Enough to pass through every weight. A token costs little, unpacking the weights costs most. */
enum { PROBE_TOKENS = 16 };

/* Relative, for the loss where bits may differ. Sums of fp32 products in another order differ by some 1e-7 a
 * token. Activations in bf16 have 8 bits: 2^-9 a token, and less in the mean. */
static const double tolerance_fp32 = 1e-5, tolerance_bf16 = 0.005;

static void draw_ids(const qg_trainer *t, int32_t *ids)
{
  qg_rng rng = {(uint64_t)t->config->train.seed, 0, 0, QG_RNG_PROBE};
  for (int64_t i = 0; i <= t->probe.tokens; i++)
    ids[i] = (int32_t)(qg_rng_draw(rng, (uint64_t)i / 4).v[i % 4] % (uint64_t)t->config->model.vocab_size);
}

static qg_status create_stage(qg_trainer *t)
{
  qg_stage_options options = {.micro_batch = 1,
                              .sequence_length = t->probe.tokens,
                              .loss_rows = t->probe.tokens,
                              .checkpointing = true,
                              .slots = 1};
  return qg_stage_create(t->mem, t->be, &t->config->model, &t->part, &options, &t->probe.stage);
}

static qg_status create_channels(qg_trainer *t)
{
  qg_probe *p = &t->probe;
  int up = t->stage_index - 1, down = t->stage_index + 1;
  QG_TRY(qg_trainer_open_channel(t, up, QG_TAG_PROBE, true, p->tokens, &p->received));
  return qg_trainer_open_channel(t, down, QG_TAG_PROBE, false, p->tokens, &p->to_send);
}

qg_status qg_probe_create(qg_trainer *t)
{
  qg_probe *p = &t->probe;
  p->tokens = qg_min_i64(PROBE_TOKENS, t->config->train.sequence_length);
  size_t bytes = qg_dtype_bytes(QG_I32, p->tokens + 1);
  QG_TRY(qg_mem_alloc_host(t->mem, QG_OWNER_CHECKPOINT, "tokens of the probe", bytes, (void **)&p->ids));
  QG_TRY(create_stage(t));
  QG_TRY(create_channels(t));
  if (qg_mem_is_dry(t->mem)) return QG_OK;
  draw_ids(t, p->ids);
  return qg_stage_init(p->stage);
}

void qg_probe_destroy(qg_probe *probe)
{
  qg_channel_destroy(&probe->received);
  qg_channel_destroy(&probe->to_send);
  qg_stage_destroy(probe->stage);
}

qg_state_entry qg_probe_entry(const qg_trainer *t)
{
  return (qg_state_entry){.dataset = "probe/tokens",
                          .type = QG_I32,
                          .items = 1,
                          .elements = t->probe.tokens + 1,
                          .data = t->probe.ids,
                          .owner = t->stage_index == 0};
}

/* The buffers of a step's batch are dead between steps. */
static qg_status upload(qg_trainer *t, const qg_token_batch *batch, const int32_t *ids)
{
  size_t bytes = qg_dtype_bytes(QG_I32, t->probe.tokens);
  return batch->device ? t->be->ops->copy_in(t->be, batch->device, ids, bytes) : QG_OK;
}

static qg_status forward(qg_trainer *t)
{
  qg_probe *p = &t->probe;
  qg_view out;
  QG_TRY(upload(t, &t->inputs, p->ids));
  QG_TRY(qg_channel_begin(&p->received, 1));
  QG_TRY(qg_channel_begin(&p->to_send, 1));
  if (!qg_trainer_is_first(t)) QG_TRY(qg_channel_receive(&p->received, qg_stage_input(p->stage, 0).data));
  QG_TRY(qg_stage_evaluate(p->stage, &t->port.port, 0, t->inputs.device, &out));
  if (qg_trainer_is_last(t)) return QG_OK;
  QG_TRY(qg_channel_send(&p->to_send, out.data));
  return qg_channel_drain(&p->to_send);
}

static qg_status last_loss(qg_trainer *t, double *loss)
{
  *loss = 0.0;
  if (!qg_trainer_is_last(t)) return QG_OK;
  QG_TRY(upload(t, &t->targets, t->probe.ids + 1));
  QG_TRY(t->be->ops->zero(t->be, t->loss, sizeof *t->loss));
  QG_TRY(qg_stage_loss(t->probe.stage, &t->port.port, 0, t->targets.device, 0.0f, t->loss));
  return t->be->ops->copy_out(t->be, loss, t->loss, sizeof *t->loss);
}

qg_status qg_probe_loss(qg_trainer *t, double *loss)
{
  *loss = NAN;
  if (!t->probe.stage) return QG_OK;
  QG_TRY(forward(t));
  QG_TRY(last_loss(t, loss));
  QG_TRY(qg_par_sum(t->par, loss, 1));
  *loss /= (double)t->probe.tokens;
  return QG_OK;
}

void qg_probe_arrangement(const qg_trainer *t, char text[QG_ARRANGEMENT])
{
  snprintf(text, QG_ARRANGEMENT, "%s, %s, threads %d, qgalore_hpc %s (%s)", t->config->backend.precision,
           t->be->description, t->be->threads, QG_VERSION, QG_GIT);
}

static bool is_fp32(const char *arrangement)
{
  return strncmp(arrangement, "fp32,", 5) == 0;
}

static bool is_close(double a, double b, double tolerance)
{
  return isfinite(a) ? fabs(a - b) <= tolerance * fabs(a) : !isfinite(b);
}

qg_status qg_probe_check(qg_trainer *t, const qg_ckpt_meta *saved)
{
  double loss;
  char here[QG_ARRANGEMENT];
  if (!t->probe.stage || isnan(saved->probe_loss)) return QG_OK;
  QG_TRY(qg_probe_loss(t, &loss));
  qg_probe_arrangement(t, here);
  bool alike = strcmp(here, saved->arrangement) == 0;
  double tolerance = is_fp32(here) && is_fp32(saved->arrangement) ? tolerance_fp32 : tolerance_bf16;
  bool same = alike ? memcmp(&loss, &saved->probe_loss, sizeof loss) == 0
                    : is_close(saved->probe_loss, loss, tolerance);
  QG_CHECK(
      same, QG_ERR_CHECKPOINT,
      "the probe of the checkpoint had a loss of %.17g when it was saved, and has %.17g after loading%s; the "
      "weights are not those that were saved, or this machine computes something else (checkpoint.probe=no "
      "goes on all the same)",
      saved->probe_loss, loss, alike ? " on the same arrangement" : "");
  return QG_OK;
}
