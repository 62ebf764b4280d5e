#include "train/saver.h"

#include <stdlib.h>

#include "qgalore/base.h"

static qg_ckpt_options options_of(const qg_saver *s)
{
  const qg_config *c = s->t->config;
  return (qg_ckpt_options){
      .folder = s->folder->checkpoints,
      .keep_last = c->checkpoint.keep_last,
      .keep_every = c->checkpoint.keep_every,
      .files = c->checkpoint.layout == QG_LAYOUT_PER_RANK ? QG_CKPT_PER_RANK : QG_CKPT_SHARED};
}

static qg_status begin(qg_saver *s, const qg_progress_state *state, const char *resolved)
{
  qg_trainer *t = s->t;
  qg_ckpt_options options = options_of(s);
  const qg_state_entry *entries;
  char arrangement[QG_ARRANGEMENT];
  int count;
  qg_probe_arrangement(t, arrangement);
  qg_ckpt_meta meta = {.step = state->step,
                       .tokens = state->tokens,
                       .cursor = state->cursor,
                       .seed = (uint64_t)t->config->train.seed,
                       .elapsed = state->elapsed,
                       .last_loss = state->loss,
                       .last_grad_norm = state->grad_norm,
                       .arrangement = arrangement,
                       .history = state->history,
                       .resolved_input = resolved};
  QG_TRY(qg_probe_loss(t, &meta.probe_loss));
  QG_TRY(qg_par_agree(t->par, qg_trainer_state(t, &entries, &count)));
  return qg_ckpt_begin(t->par, t->be, &options, &meta, entries, count, t->snapshot, &s->pending);
}

qg_status qg_saver_begin(qg_saver *s, const qg_progress_state *state)
{
  qg_status status;
  char *resolved = NULL;
  s->step = state->step;
  s->beside = false;
  s->begun = qg_now();
  qg_timer_start(&s->t->timers, QG_PHASE_CHECKPOINT);
  QG_TRY_OUT(qg_par_agree(s->t->par, qg_config_resolved(s->t->config, &resolved)));
  QG_TRY_OUT(begin(s, state, resolved));
out:
  free(resolved);
  qg_timer_stop(&s->t->timers, QG_PHASE_CHECKPOINT);
  s->seconds = s->stall = qg_now() - s->begun;
  return status;
}

/* Every rank has an answer of its own until it is everybody's. */
static qg_status all_have_written(const qg_saver *s, bool *all)
{
  double written = qg_ckpt_is_written(s->pending);
  QG_TRY(qg_par_min(s->t->par, &written, 1));
  *all = written > 0.0;
  return QG_OK;
}

qg_status qg_saver_settle(qg_saver *s, bool wait, bool *ended)
{
  *ended = false;
  if (!s->pending) return QG_OK;
  if (!wait) QG_TRY(all_have_written(s, &wait));
  if (!wait) {
    s->beside = true;
    return QG_OK;
  }
  *ended = true;
  double begun = qg_now();
  qg_timer_start(&s->t->timers, QG_PHASE_CHECKPOINT);
  qg_status status = qg_ckpt_finish(s->pending);
  qg_timer_stop(&s->t->timers, QG_PHASE_CHECKPOINT);
  s->pending = NULL;
  s->stall += qg_now() - begun;
  s->seconds = qg_now() - s->begun;
  return status;
}

void qg_saver_abandon(qg_saver *s)
{
  qg_ckpt_abandon(s->pending);
  s->pending = NULL;
}
