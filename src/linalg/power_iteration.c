#include "linalg/power_iteration.h"

#include <math.h>

#include "linalg/subspace_iteration.h"

enum { WARM_STEPS = 1, COLD_STEPS = 2 }; /* before the first look at the result */

size_t qg_power_iteration_bytes(int d, int length, int rank, qg_product_options products)
{
  qg_scratch scratch = {0};
  qg_subspace_iteration_lay_out(&scratch, d, length, rank, products, &(qg_subspace_iteration){0});
  return scratch.used;
}

/* Gains shrink from step to step. On gradients where the first step raised .975 of the optimum to .997 and
 * the second to .9988, what was still missing was 0.14 and 0.67 of the last gain; half of it is the estimate.
 */
static double estimate_optimum(const qg_projection_problem *problem, double captured, double gain)
{
  return fmin(problem->norm2, captured + fmax(gain, 0) / 2);
}

/* After a step that brought the energy of the block up by `gain`. */
static qg_status test_energy(const qg_projection_problem *problem, const qg_power_iteration_options *options,
                             bool last, double gain, qg_subspace_iteration *iteration, bool *accepted)
{
  double captured;
  QG_TRY(qg_subspace_iteration_ritz(iteration, &captured));
  *accepted = (options->last_resort && last) ||
              captured >= options->min_energy_ratio * estimate_optimum(problem, captured, gain);
  return QG_OK;
}

/* Where few elements dominate, rounding the gradient changes its norm by up to 2^-9: shares of it are what is
 * known. */
static void undo_rounding(const qg_projection_problem *problem, qg_subspace_iteration *iteration)
{
  double factor = problem->norm2 / qg_gram_product_norm2(&iteration->product, QG_PRODUCT_WHOLE_BLOCK);
  for (int k = 0; k < iteration->count; k++) iteration->values[k] *= factor;
}

qg_status qg_power_iteration_solve(const qg_projection_problem *problem,
                                   const qg_power_iteration_options *options, qg_scratch scratch,
                                   qg_subspace_job *job, bool *accepted)
{
  int steps = options->previous ? WARM_STEPS : COLD_STEPS, last = steps + options->more_steps;
  double energy, before;
  qg_subspace_iteration iteration;
  *accepted = false;
  qg_subspace_iteration_lay_out(&scratch, problem->d, problem->length, problem->rank, options->products,
                                &iteration);
  double scale = qg_subspace_iteration_start(&iteration, problem, options->previous, job->seed);
  QG_TRY(qg_subspace_iteration_measure(&iteration, QG_PRODUCT_COARSE, &energy));
  energy /= scale;
  for (int step = 1; step <= last && !*accepted; step++) {
    before = energy;
    QG_TRY(qg_subspace_iteration_step(&iteration, step < steps ? QG_PRODUCT_COARSE : QG_PRODUCT_WHOLE_BLOCK));
    QG_TRY(qg_subspace_iteration_measure(&iteration,
                                         step < steps ? QG_PRODUCT_COARSE : QG_PRODUCT_WHOLE_BLOCK, &energy));
    if (step >= steps)
      QG_TRY(test_energy(problem, options, step == last, energy - before, &iteration, accepted));
  }
  if (!*accepted) return QG_OK;
  undo_rounding(problem, &iteration);
  return qg_subspace_iteration_publish(&iteration,
                                       options->previous ? QG_SUBSPACE_WARM : QG_SUBSPACE_RANDOMIZED, job);
}
