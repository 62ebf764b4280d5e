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

static qg_status begin(qg_saver *s, const qg_progress_state *state, const char *resolved, bool beside)
{
  qg_trainer *t = s->t;
  qg_ckpt_options options = options_of(s);
  qg_ckpt_snapshot room = beside ? t->snapshot : (qg_ckpt_snapshot){0};
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
  QG_TRY(qg_ckpt_begin(t->par, t->be, &options, &meta, entries, count, room, &s->pending));
  t->save = s->pending;
  return QG_OK;
}

/* What training has waited for saves: the phase says it, wherever it waits. */
static double waited(const qg_saver *s)
{
  return s->t->timers.seconds[QG_PHASE_CHECKPOINT];
}

qg_status qg_saver_begin(qg_saver *s, const qg_progress_state *state, bool beside)
{
  qg_status status;
  char *resolved = NULL;
  s->step = state->step;
  s->begun = qg_now();
  s->waited_before = waited(s);
  qg_timer_start(&s->t->timers, QG_PHASE_CHECKPOINT);
  QG_TRY_OUT(qg_par_agree(s->t->par, qg_config_resolved(s->t->config, &resolved)));
  QG_TRY_OUT(begin(s, state, resolved, beside));
  s->beside = qg_ckpt_is_background(s->pending);
out:
  free(resolved);
  qg_timer_stop(&s->t->timers, QG_PHASE_CHECKPOINT);
  return status;
}

static qg_status go_on(qg_saver *s, bool wait, bool *ended)
{
  *ended = wait;
  qg_timer_start(&s->t->timers, QG_PHASE_CHECKPOINT);
  qg_status status =
      wait ? qg_ckpt_finish(s->pending, &s->phases) : qg_ckpt_advance(s->pending, ended, &s->phases);
  qg_timer_stop(&s->t->timers, QG_PHASE_CHECKPOINT);
  return status;
}

/* The longest wait of any rank is the one that training feels. */
static qg_status measure(qg_saver *s)
{
  s->seconds = qg_now() - s->begun;
  s->stall = waited(s) - s->waited_before;
  QG_TRY(qg_par_max(s->t->par, &s->stall, 1));
  s->alone = s->beside ? s->phases + s->stall : s->seconds;
  return QG_OK;
}

qg_status qg_saver_settle(qg_saver *s, bool wait, bool *ended)
{
  *ended = false;
  if (!s->pending) return QG_OK;
  qg_status status = go_on(s, wait, ended);
  if (!*ended) return status;
  s->pending = s->t->save = NULL;
  QG_TRY(status);
  return measure(s);
}

void qg_saver_abandon(qg_saver *s)
{
  qg_ckpt_abandon(s->pending);
  s->pending = s->t->save = NULL;
}
