/* Warm and randomized subspaces: a few products with H instead of its eigenvalues. Warm: the block starts as
 * the previous basis and a few random vectors that find directions the old basis has never seen; one step.
 * Randomized: all random, two steps. Either may take more. */
#ifndef QG_LINALG_POWER_ITERATION_H
#define QG_LINALG_POWER_ITERATION_H

#include "linalg/gram_product.h"

size_t qg_power_iteration_bytes(int d, int length, int rank, qg_product_options products);

typedef struct {
  qg_product_options products;
  const float *previous;   /* the old basis, or NULL: a random start */
  double min_energy_ratio; /* share of the estimated optimum from which a result is good */
  int more_steps;          /* that may be added while it is not */
  bool last_resort;        /* the result of the last step is taken as it is */
} qg_power_iteration_options;

/* Publishes the result, or leaves the job's arrays unchanged with *accepted false: another route is due.
 * `scratch` holds qg_power_iteration_bytes. The problem must fit fp32 and not be zero. */
qg_status qg_power_iteration_solve(const qg_projection_problem *problem,
                                   const qg_power_iteration_options *options, qg_scratch scratch,
                                   qg_subspace_job *job, bool *accepted);

#endif
