#include "optim/step_guard.h"

#include <stdlib.h>

#include "qgalore/base.h"

/* One copy brings all. */
static size_t bytes_of(int count)
{
  return qg_dtype_bytes(QG_F64, count + 1) + sizeof(qg_finite_guard);
}

qg_status qg_step_guard_open(qg_step_guard *guard, qg_mem *mem, int count)
{
  *guard = (qg_step_guard){.count = count};
  QG_TRY(qg_calloc(1, bytes_of(count), "sums of squares", (void **)&guard->host_sums));
  return qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "sums of squares", bytes_of(count), (void **)&guard->sums);
}

void qg_step_guard_close(qg_step_guard *guard)
{
  free(guard->host_sums);
}

static qg_finite_guard *device_guard(const qg_step_guard *guard)
{
  return (qg_finite_guard *)(guard->sums + guard->count + 1);
}

const qg_finite_guard *qg_step_guard_device(const qg_step_guard *guard)
{
  return device_guard(guard);
}

qg_status qg_step_guard_begin(qg_step_guard *guard, qg_backend *be, bool discarded)
{
  guard->discarded = discarded;
  guard->state_modified = false;
  guard->noted = guard->first_update = 0;
  return be->ops->zero(be, device_guard(guard), sizeof(qg_finite_guard));
}

qg_status qg_step_guard_note(qg_step_guard *guard, qg_backend *be, qg_view gradient, int index)
{
  guard->noted++;
  return be->ops->sum_squares(be, gradient, guard->sums + index, device_guard(guard));
}

qg_status qg_step_guard_sum(qg_step_guard *guard, qg_backend *be, qg_view gradient, int index)
{
  return be->ops->sum_squares(be, gradient, guard->sums + index, NULL);
}

void qg_step_guard_updated(qg_step_guard *guard)
{
  if (guard->first_update == 0) guard->first_update = guard->noted;
}

/* The first update took place if the guard let its gradient pass. */
static void follow(qg_step_guard *guard, const qg_finite_guard *device)
{
  if (!qg_finite_guard_is_open(device)) guard->discarded = true;
  if (guard->first_update > 0 && device->passed >= (double)guard->first_update) guard->state_modified = true;
}

qg_status qg_step_guard_read(qg_step_guard *guard, qg_backend *be)
{
  QG_TRY(be->ops->copy_out(be, guard->host_sums, guard->sums, bytes_of(guard->count)));
  follow(guard, (const qg_finite_guard *)(guard->host_sums + guard->count + 1));
  return QG_OK;
}
