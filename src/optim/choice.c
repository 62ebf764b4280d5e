#include "optim/choice.h"

#include "optim/dense.h"
#include "optim/distributed.h"
#include "optim/low_rank.h"
#include "optim/tied.h"
#include "optim/vector.h"
#include "qgalore/base.h"

/* Gradients of tables come in parts, so they have to be accumulated; and a refresh that sees the whole batch
 * has to keep G of every matrix that is due, and at step 0 all are. */
static qg_refresh_route choose_route(const qg_optim_context *o, const qg_param *param)
{
  const qg_optim_options *options = &o->options;
  int64_t rows = param->rows, cols = param->cols;
  bool whole_batch = options->sample == QG_SAMPLE_BATCH && o->micro_batches > 1;
  if (options->distributed_min > 0 && qg_min_i64(rows, cols) >= options->distributed_min)
    return QG_REFRESH_DISTRIBUTED;
  if (param->in_parts || param->looked_up || whole_batch) return QG_REFRESH_ACCUMULATED;
  bool implicit = !options->full_gradient && o->be->ops->unified_memory &&
                  qg_subspace_prefers_implicit(options->subspace.method, rows, cols, o->tokens);
  return implicit ? QG_REFRESH_IMPLICIT : QG_REFRESH_FULL;
}

/* Products accumulate in bf16 if options ask for it. What accumulates nothing and what tied stages exchange
 * is f32; so is all of an fp32 run. */
static qg_dtype gradient_type(const qg_optim_context *o, bool accumulates)
{
  return accumulates && o->options.accumulators == QG_BF16 && o->be->compute == QG_BF16 ? QG_BF16 : QG_F32;
}

static qg_status choose_projected(qg_grad_sink *sink, qg_grad_sink **out)
{
  qg_refresh_route route = choose_route(sink->o, sink->param);
  bool accumulates = route == QG_REFRESH_ACCUMULATED || route == QG_REFRESH_DISTRIBUTED;
  sink->fused = sink->o->options.fused && !accumulates;
  sink->type = gradient_type(sink->o, !sink->fused);
  if (route == QG_REFRESH_DISTRIBUTED) return qg_distributed_create(sink, out);
  return accumulates ? qg_accumulated_create(sink, out) : qg_low_rank_create(sink, route, out);
}

/* Tied embeddings wait for the other part of their gradient, and vectors are not worth it. */
qg_status qg_choose_sink(qg_optim_context *o, const qg_param *param, int index, qg_grad_sink **out)
{
  qg_grad_sink sink = {.o = o, .param = param, .index = index, .type = QG_F32};
  if (qg_param_is_vector(param)) return qg_vector_create(&sink, out);
  if (qg_optim_projects(&o->options, param)) return choose_projected(&sink, out);
  if (param->tied) return qg_tied_create_sink(&sink, out);
  sink.fused = o->options.fused;
  sink.type = gradient_type(o, true);
  return qg_dense_create(&sink, out);
}
