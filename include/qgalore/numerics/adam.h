/* One Adam step of one element, compiled for the host and for the device (doc/method.md section 8).
 * Compile without contraction of a*b+c, or bits differ. */
#ifndef QGALORE_NUMERICS_ADAM_H
#define QGALORE_NUMERICS_ADAM_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "qgalore/numerics/host_device.h"

/* What is the same for all elements of a step. */
typedef struct {
  float grad_scale;
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float step_size; /* -lr * c2 / c1 */
  float eps;       /* c2 * eps */
  float v_per_m2;  /* v is at least this much of m^2; 0: no bound */
} qg_adam_factors;

/* Exact moments obey m^2 <= K^2 v, K^2 = (1-b1)^2 / ((1-b2) (1 - b1^2/b2)) for b1^2 < b2 (Cauchy and Schwarz over the
 * two sums of gradients). Rounding to 8 bits breaks it where v is small in its block: v becomes 0 and m does not,
 * and the step m / (sqrt(v) + eps) explodes as soon as a gradient is small. Returns 1 / K^2, or 0 without such a K. */
static inline float qg_adam_bound(float beta1, float beta2)
{
  double b1 = (double)beta1, b2 = (double)beta2;
  if (b1 >= 1.0 || b1 * b1 >= b2) return 0.0f;
  return (float)((1.0 - b2) * (1.0 - b1 * b1 / b2) / ((1.0 - b1) * (1.0 - b1)));
}

/* c1 = 1 - b1^t, c2 = sqrt(1 - b2^t), in double on the host; t counts from 1. */
static inline qg_adam_factors qg_adam_factors_make(float grad_scale, float lr, float beta1, float beta2,
                                                   float eps, int64_t t, bool bounded)
{
  double c1 = 1.0 - pow((double)beta1, (double)t);
  double c2 = sqrt(1.0 - pow((double)beta2, (double)t));
  qg_adam_factors f;
  f.grad_scale = grad_scale;
  f.beta1 = beta1;
  f.one_minus_beta1 = 1.0f - beta1;
  f.beta2 = beta2;
  f.one_minus_beta2 = 1.0f - beta2;
  f.step_size = (float)(-(double)lr * c2 / c1);
  f.eps = (float)(c2 * (double)eps);
  f.v_per_m2 = bounded ? qg_adam_bound(beta1, beta2) : 0.0f;
  return f;
}

/* v = b2 v + (1-b2) g^2;  m = b1 m + (1-b1) g;  v = max(v, v_per_m2 m^2);  returns step_size * m / (sqrt(v) + c2 eps).
 * An element whose scaled gradient or its square is not finite counts as 0: it must never reach the state. */
QG_HD float qg_adam_step(qg_adam_factors f, float grad, float *m, float *v)
{
  float g = grad * f.grad_scale;
  g = g * g <= FLT_MAX ? g : 0.0f;
  *v = f.beta2 * *v + f.one_minus_beta2 * (g * g);
  *m = f.beta1 * *m + f.one_minus_beta1 * g;
  float least = f.v_per_m2 * (*m * *m);
  *v = *v < least ? least : *v;
  return f.step_size * (*m / (sqrtf(*v) + f.eps));
}

/* The bias corrections between moments and statistics (qg_moments_args in qgalore/backend.h). */
typedef struct {
  float c1, c2_squared;
} qg_moment_scales;

/* mean = m / c1; variance = max(v / c2^2 - mean^2, 0). */
QG_HD void qg_moments_read(qg_moment_scales s, float m, float v, float *mean, float *variance)
{
  float first = m / s.c1, second = v / s.c2_squared - first * first;
  *mean = first;
  *variance = second > 0.0f ? second : 0.0f;
}

/* m = c1 mean; v = c2^2 (variance + mean^2). */
QG_HD void qg_moments_write(qg_moment_scales s, float mean, float variance, float *m, float *v)
{
  *m = s.c1 * mean;
  *v = s.c2_squared * (variance + mean * mean);
}

#endif
