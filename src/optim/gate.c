/* The guard of what happens inside backward: gradients are looked at where they lie, and updates behind one
 * that is not finite do nothing, without the host's waiting to hear of it (qgalore/numerics/finite_guard.h).
 */
#include <math.h>

#include "optim/internal.h"

/* Behind the sums of the parameters: the sum of what entered the stage, and the guard. One copy brings all.
 */
size_t qg_optim_sums_bytes(const qg_optim *optim)
{
  return qg_dtype_bytes(QG_F64, optim->param_count + 1) + sizeof(qg_finite_guard);
}

static double *entering_sum(const qg_optim *optim)
{
  return optim->scratch.sums + optim->param_count;
}

qg_finite_guard *qg_optim_guard(const qg_optim *optim)
{
  return (qg_finite_guard *)(entering_sum(optim) + 1);
}

qg_status qg_optim_guard_begin(qg_optim *optim)
{
  optim->noted = optim->first_update = 0;
  return optim->be->ops->zero(optim->be, qg_optim_guard(optim), sizeof(qg_finite_guard));
}

qg_status qg_optim_guard_note(qg_optim *optim, qg_view gradient, double *sum)
{
  optim->noted++;
  return optim->be->ops->sum_squares(optim->be, gradient, sum, qg_optim_guard(optim));
}

qg_status qg_optim_enter(qg_optim *optim, qg_view gradient)
{
  return qg_optim_acts_in_backward(optim) ? qg_optim_guard_note(optim, gradient, entering_sum(optim)) : QG_OK;
}

void qg_optim_guard_updated(qg_optim *optim)
{
  if (optim->first_update == 0) optim->first_update = optim->noted;
}

/* The first update took place if the guard was open behind the gradient that it follows. */
static void follow(qg_optim *optim, const qg_finite_guard *guard)
{
  if (!qg_finite_guard_is_open(guard)) optim->discarded = true;
  if (optim->first_update > 0 && guard->passed >= (double)optim->first_update) optim->touched = true;
}

qg_status qg_optim_read_sums(qg_optim *optim)
{
  QG_TRY(
      optim->be->ops->copy_out(optim->be, optim->host_sums, optim->scratch.sums, qg_optim_sums_bytes(optim)));
  follow(optim, (const qg_finite_guard *)(optim->host_sums + optim->param_count + 1));
  return QG_OK;
}
