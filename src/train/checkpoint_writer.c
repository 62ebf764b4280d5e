#include "train/checkpoint_writer.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "train/data_identity.h"

static qg_ckpt_options options_of(const qg_checkpoint_writer *w)
{
  const qg_config *c = w->t->config;
  return (qg_ckpt_options){
      .folder = w->folder->checkpoints,
      .keep_last = c->checkpoint.keep_last,
      .keep_every = c->checkpoint.keep_every,
      .files = c->checkpoint.layout == QG_LAYOUT_PER_RANK ? QG_CKPT_PER_RANK : QG_CKPT_SHARED};
}

static qg_status begin(qg_checkpoint_writer *w, const qg_train_state *state, const char *resolved,
                       bool asynchronous)
{
  qg_trainer *t = w->t;
  qg_ckpt_options options = options_of(w);
  qg_ckpt_snapshot snapshot = asynchronous ? t->snapshot : (qg_ckpt_snapshot){0};
  const qg_state_entry *entries;
  char arrangement[QG_ARRANGEMENT], data[QG_DATA_IDENTITY] = "";
  int count;
  qg_selftest_arrangement(t->config, t->be, arrangement);
  if (qg_par_is_root(qg_par_grid(t->par))) qg_data_identity(t, data);
  qg_ckpt_meta meta = {.step = state->step,
                       .tokens = state->tokens,
                       .cursor = state->cursor,
                       .seed = (uint64_t)t->config->train.seed,
                       .elapsed = state->elapsed,
                       .last_loss = state->loss,
                       .last_grad_norm = state->grad_norm,
                       .arrangement = arrangement,
                       .history = state->history,
                       .resolved_input = resolved,
                       .data = data};
  QG_TRY(qg_selftest_loss(&t->selftest, &meta.selftest_loss));
  QG_TRY(qg_par_agree(t->par, qg_trainer_state(t, &entries, &count)));
  QG_TRY(qg_ckpt_begin(t->par, t->be, &options, &meta, entries, count, snapshot, &w->pending));
  t->save = w->pending;
  return QG_OK;
}

/* Seconds that training has waited for saves, wherever it waits. */
static double waited(const qg_checkpoint_writer *w)
{
  return w->t->timers.seconds[QG_PHASE_CHECKPOINT];
}

qg_status qg_checkpoint_writer_begin(qg_checkpoint_writer *w, const qg_train_state *state, bool asynchronous)
{
  qg_status status;
  char *resolved = NULL;
  w->step = state->step;
  w->begun = qg_now();
  w->waited_before = waited(w);
  qg_timer_start(&w->t->timers, QG_PHASE_CHECKPOINT);
  QG_TRY_OUT(qg_par_agree(w->t->par, qg_config_resolved(w->t->config, &resolved)));
  QG_TRY_OUT(begin(w, state, resolved, asynchronous));
  w->asynchronous = qg_ckpt_is_background(w->pending);
out:
  free(resolved);
  qg_timer_stop(&w->t->timers, QG_PHASE_CHECKPOINT);
  return status;
}

/* The longest wait of any rank is the one that training feels. */
static qg_status measure(qg_checkpoint_writer *w)
{
  w->seconds = qg_now() - w->begun;
  w->stall = waited(w) - w->waited_before;
  QG_TRY(qg_par_max(w->t->par, &w->stall, 1));
  w->waiting_seconds = w->asynchronous ? w->phases + w->stall : w->seconds;
  return QG_OK;
}

qg_status qg_checkpoint_writer_advance(qg_checkpoint_writer *w, bool wait, bool *ended)
{
  qg_status status;
  *ended = false;
  if (!w->pending) return QG_OK;
  qg_timer_start(&w->t->timers, QG_PHASE_CHECKPOINT);
  if (wait) {
    *ended = true;
    status = qg_ckpt_finish(w->pending, &w->phases);
  } else {
    status = qg_ckpt_advance(w->pending, ended, &w->phases);
  }
  qg_timer_stop(&w->t->timers, QG_PHASE_CHECKPOINT);
  if (!*ended) return status;
  w->pending = w->t->save = NULL;
  QG_TRY(status);
  return measure(w);
}

void qg_checkpoint_writer_abandon(qg_checkpoint_writer *w)
{
  qg_ckpt_abandon(w->pending);
  w->pending = w->t->save = NULL;
}
