/* The state before the first step. Weights are a pure function of (seed, parameter, element), made in chunks
 * so that host memory stays small. */
#include "optim/internal.h"
#include "qgalore/backend/host.h"

static const float INIT_DEVIATION = 0.02f;

static qg_status store_fresh(qg_optim *optim, const qg_optim_param *p, int64_t first, int64_t count)
{
  qg_backend *be = optim->be;
  const qg_optim_scratch *scratch = &optim->scratch;
  if (scratch->update_host != scratch->update)
    QG_TRY(be->ops->copy_in(be, scratch->update, scratch->update_host, qg_dtype_bytes(QG_F32, count)));
  if (p->policy.int8) {
    qg_int8_rule rule = {.include_zero = optim->options.include_zero};
    return be->ops->quantize_int8(be, scratch->update, count, rule, qg_optim_codes_from(p->codes, first));
  }
  qg_view weights = qg_view_make(p->values, p->policy.type, 1, p->info.rows * p->info.cols);
  return be->ops->convert(be, qg_view_cols(weights, first, count),
                          qg_view_make(scratch->update, QG_F32, 1, count));
}

static qg_status init_param(qg_optim *optim, const qg_optim_param *p)
{
  const qg_rng rng = {optim->options.seed, 0, (uint32_t)p->info.id, QG_RNG_INIT};
  int64_t total = qg_optim_elements(p),
          step = qg_min_i64(optim->be->update_elements, optim->scratch.update_elements);
  qg_optim_name(optim, p);
  /* A scratch that holds less than a chunk still holds the largest parameter whole. */
  for (int64_t first = 0; first < total; first += step) {
    int64_t count = qg_min_i64(step, total - first);
    float *host = optim->scratch.update_host;
    QG_TRY(optim->be->ops->sync(optim->be)); /* the previous chunk has been read */
    if (qg_optim_is_vector(p))
      for (int64_t i = 0; i < count; i++) host[i] = 1.0f;
    else
      qg_normal_fill(rng, INIT_DEVIATION, first, count, optim->be->threads, host);
    QG_TRY(store_fresh(optim, p, first, count));
  }
  return QG_OK;
}

/* The tracker's place in the plan is the model's, not the run's. */
static void clear_tracker(const qg_optim *optim, qg_tracker *tracker)
{
  int64_t phase = tracker->phase;
  qg_tracker_init(tracker, optim->options.update_gap);
  tracker->phase = phase;
}

/* As the ledger handed it out, for runs that begin again in mid-life. */
static qg_status clear_history(qg_optim *optim)
{
  const qg_state_entry *entries;
  int count;
  QG_TRY(qg_optim_state(optim, &entries, &count));
  for (int i = 0; i < count; i++)
    if (entries[i].data && entries[i].on_device)
      QG_TRY(optim->be->ops->zero(optim->be, entries[i].data,
                                  qg_dtype_bytes(entries[i].type, entries[i].elements)));
  for (int id = 0; id < optim->param_count; id++) clear_tracker(optim, &optim->params[id].tracker);
  return QG_OK;
}

qg_status qg_optim_init_weights(qg_optim *optim)
{
  QG_TRY(clear_history(optim));
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].held) QG_TRY(init_param(optim, &optim->params[id]));
  return qg_optim_convert_vectors(optim);
}
