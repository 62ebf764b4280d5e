/* Whether a step's gradients are finite so far, kept where the device decides by it: compiled for the host
 * and for the device. Updates in the middle of backward ask a gate instead of the host, who would have to
 * wait. */
#ifndef QGALORE_GATE_H
#define QGALORE_GATE_H

#include <math.h>
#include <stdbool.h>

#include "qgalore/philox.h" /* QG_HD */

/* Open while `sum` is finite. All zeros: open, and nothing came yet. */
typedef struct {
  double sum;    /* of the sums of squares so far: once it is not finite it never is again */
  double passed; /* how many of them left the gate open */
} qg_gate;

QG_HD void qg_gate_note(qg_gate *gate, double squares)
{
  gate->sum += squares;
  if (isfinite(gate->sum)) gate->passed += 1.0;
}

/* No gate is an open one. */
QG_HD bool qg_gate_is_open(const qg_gate *gate)
{
  return !gate || isfinite(gate->sum);
}

#endif
