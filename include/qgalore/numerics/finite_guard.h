/* Whether a step's gradients are finite so far, kept where the device decides by it: compiled for the host
 * and for the device. Updates in the middle of backward ask a guard instead of the host, who would have to
 * wait. */
#ifndef QGALORE_NUMERICS_FINITE_GUARD_H
#define QGALORE_NUMERICS_FINITE_GUARD_H

#include <math.h>
#include <stdbool.h>

#include "qgalore/numerics/host_device.h"

/* Open while `sum` is finite. All zeros: open, and nothing came yet. */
typedef struct {
  double sum;    /* of the sums of squares so far: once it is not finite it never is again */
  double passed; /* how many of them left the guard open */
} qg_finite_guard;

QG_HD void qg_finite_guard_note(qg_finite_guard *guard, double squares)
{
  guard->sum += squares;
  if (isfinite(guard->sum)) guard->passed += 1.0;
}

/* No guard is an open one. */
QG_HD bool qg_finite_guard_is_open(const qg_finite_guard *guard)
{
  return !guard || isfinite(guard->sum);
}

#endif
