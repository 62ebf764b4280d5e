/* Method and role decide how a parameter is stored and optimised. */
#include "optim/internal.h"
#include "qgalore/base.h"

enum { MIN_8BIT_ELEMENTS = 4096 }; /* below, 8-bit moments save nothing and cost accuracy */

static bool is_low_rank(qg_method method)
{
  return method == QG_METHOD_GALORE || method == QG_METHOD_QGALORE;
}

static void set_projection(qg_optim_policy *policy, const qg_optim_options *options, const qg_param *param)
{
  policy->projected = true;
  policy->int8 = options->weight_bits == 8;
  if (!policy->int8) policy->type = options->weight_bits == 16 ? QG_BF16 : QG_F32;
  policy->int4 = options->projector_bits == 4;
  policy->side = qg_side_of(param->rows, param->cols);
  /* Grouped-query key and value matrices can be narrower than the rank of the others. */
  policy->rank = qg_min_i64(options->rank, qg_min_i64(param->rows, param->cols));
  if (policy->side == QG_SIDE_RIGHT) policy->grad_cols = policy->rank;
  else
    policy->grad_rows = policy->rank;
}

qg_optim_policy qg_optim_choose_policy(const qg_optim_options *options, const qg_param *param)
{
  qg_optim_policy policy = {
      .type = options->dense_type,
      .decays = qg_role_is_matrix(param->role),
      .grad_rows = param->rows,
      .grad_cols = param->cols,
  };
  if (is_low_rank(options->method) && qg_role_is_linear(param->role)) set_projection(&policy, options, param);
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
