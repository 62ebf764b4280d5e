/* Method and role decide how a parameter is stored and optimised. */
#include "optim/internal.h"
#include "qgalore/base.h"

enum { MIN_8BIT_ELEMENTS = 4096 }; /* below, 8-bit moments save nothing and cost accuracy */

static bool is_low_rank(qg_method method)
{
  return method == QG_METHOD_GALORE || method == QG_METHOD_QGALORE;
}

static bool is_table(const qg_param *param)
{
  return param->role == QG_ROLE_EMBED || param->role == QG_ROLE_HEAD;
}

static bool is_projected(const qg_optim *optim, const qg_param *param)
{
  const qg_optim_options *options = &optim->options;
  if (!is_low_rank(options->method)) return false;
  return qg_role_is_linear(param->role) || (options->project_head && is_table(param));
}

/* Head and embedding hand out their gradient in parts, so it has to gather. */
static qg_optim_route choose_route(const qg_optim *optim, const qg_param *param)
{
  const qg_optim_options *options = &optim->options;
  int64_t rows = param->rows, cols = param->cols;
  if (options->distributed_min > 0 && qg_min_i64(rows, cols) >= options->distributed_min)
    return QG_ROUTE_DISTRIBUTED;
  if (is_table(param) || optim->keeps_full) return QG_ROUTE_GATHERED;
  bool implicit = !options->full_gradient && optim->be->ops->unified_memory &&
                  qg_subspace_prefers_implicit(options->subspace.method, rows, cols, optim->tokens);
  return implicit ? QG_ROUTE_IMPLICIT : QG_ROUTE_FORMED;
}

static void set_storage(qg_optim_policy *policy, const qg_optim_options *options, const qg_param *param)
{
  if (is_table(param)) return;
  policy->int8 = options->weight_bits == 8;
  if (!policy->int8) policy->type = options->weight_bits == 16 ? QG_BF16 : QG_F32;
}

static void set_projection(qg_optim_policy *policy, const qg_optim *optim, const qg_param *param)
{
  const qg_optim_options *options = &optim->options;
  policy->projected = true;
  policy->route = choose_route(optim, param);
  policy->int4 = options->projector_bits == 4;
  policy->side = qg_side_of(param->rows, param->cols);
  /* Grouped-query key and value matrices can be narrower than the rank of the others. */
  policy->rank = qg_min_i64(options->rank, qg_min_i64(param->rows, param->cols));
  if (policy->side == QG_SIDE_RIGHT) policy->grad_cols = policy->rank;
  else
    policy->grad_rows = policy->rank;
}

/* Tied embeddings wait for the gradient's other part. */
static bool is_fused(const qg_optim *optim, const qg_optim_policy *policy, const qg_param *param)
{
  bool tied = optim->shape.tie_embeddings && param->role == QG_ROLE_EMBED;
  bool gathers = policy->projected && policy->route >= QG_ROUTE_GATHERED;
  return optim->options.fused && qg_role_is_matrix(param->role) && !gathers && !tied;
}

/* What accumulates nothing, what norm kernels add to, and what tied stages exchange is f32; so is all of an
 * fp32 run. */
static qg_dtype grad_type(const qg_optim *optim, const qg_optim_policy *policy, const qg_param *param)
{
  bool tied = optim->shape.tie_embeddings && param->role == QG_ROLE_EMBED;
  bool narrow = optim->options.accumulators == QG_BF16 && optim->be->compute == QG_BF16 &&
                qg_role_is_matrix(param->role) && !(policy->fused && policy->projected) && !tied;
  return narrow ? QG_BF16 : QG_F32;
}

qg_optim_policy qg_optim_choose_policy(const qg_optim *optim, const qg_param *param)
{
  const qg_optim_options *options = &optim->options;
  qg_optim_policy policy = {
      .type = options->dense_type,
      .decays = qg_role_is_matrix(param->role),
      .grad_rows = param->rows,
      .grad_cols = param->cols,
  };
  if (is_projected(optim, param)) {
    set_projection(&policy, optim, param);
    set_storage(&policy, options, param);
  }
  policy.fused = is_fused(optim, &policy, param);
  policy.grad_type = grad_type(optim, &policy, param);
  policy.moments8 = options->moment_bits == 8 && policy.grad_rows * policy.grad_cols >= MIN_8BIT_ELEMENTS;
  return policy;
}

bool qg_optim_wants_weight_scratch(const qg_optim *optim, const qg_optim_param *p)
{
  if (!p->held || qg_optim_is_vector(p)) return false;
  if (p->policy.int8) return true;
  /* The embedding kernel reads either type, so the table is handed out as it is stored; a tied head is not.
   */
  bool only_looked_up =
      p->info.role == QG_ROLE_EMBED && !(qg_optim_is_tied(optim, p) && optim->part.has_head);
  return p->policy.type != optim->be->compute && !only_looked_up;
}
