#include "linalg/exact_iteration.h"

#include <math.h>

#include "linalg/subspace_iteration.h"

/* Steps of the whole block, and how many more of what is not settled then may follow. */
enum { WHOLE_STEPS = 2, ROUNDS = 4, ROUND_STEPS = 4, MORE_STEPS = ROUNDS * ROUND_STEPS };

/* Shares of everything: a step that gains less ends the search; a vector settles that misses less. */
static const double NEGLIGIBLE = 4e-7, SETTLED = 1e-8;

static qg_product_options with_fine(qg_product_options products)
{
  products.fine = true;
  return products;
}

size_t qg_exact_iteration_bytes(int d, int length, int rank, qg_product_options products)
{
  qg_scratch scratch = {0};
  qg_subspace_iteration_lay_out(&scratch, d, length, rank, with_fine(products), &(qg_subspace_iteration){0});
  return scratch.used;
}

/* How many of the largest Ritz vectors are good after `steps`: of directions beyond the wanted ones, with
 * s_j^2 up to that of the last, each product with H leaves the share s_j^2 / s_i^2. */
static int count_settled(const qg_subspace_iteration *iteration, int steps)
{
  int first = iteration->count - iteration->problem->rank, k = iteration->active;
  double last = fmax(iteration->values[first], 0);
  while (k > first) {
    double value = iteration->values[k - 1];
    if (!(value * pow(last / value, 2 * steps) <= SETTLED * iteration->problem->norm2)) break;
    k--;
  }
  return iteration->active - k;
}

/* Nothing worth looking for is left: either next to nothing lies outside the block, which bounds what any
 * other subspace could capture more (the eigenvalues of a positive semidefinite H are dominated by those of
 * its two diagonal blocks; Bourin and Lee, Bull. London Math. Soc. 44, 2012), or the last step, whose gain
 * the next ones' fall short of, found next to nothing. */
static bool has_converged(const qg_projection_problem *problem, double energy, double gain)
{
  return problem->norm2 - energy <= NEGLIGIBLE * problem->norm2 || gain <= NEGLIGIBLE * problem->norm2;
}

/* The block after its first steps, as Ritz vectors. The last of them is precise: rounding the gradient turns
 * its largest vectors by up to 2^-9 where few elements dominate it, and those settle here. */
static qg_status take_first_steps(const qg_projection_problem *problem, uint64_t seed,
                                  qg_subspace_iteration *iteration, double *energy)
{
  double captured;
  qg_subspace_iteration_start(iteration, problem, NULL, seed);
  for (int step = 1; step <= WHOLE_STEPS; step++) {
    qg_product_grade grade = step < WHOLE_STEPS ? QG_PRODUCT_COARSE : QG_PRODUCT_WHOLE_GRADIENT;
    QG_TRY(qg_subspace_iteration_measure(iteration, grade, energy));
    QG_TRY(qg_subspace_iteration_step(iteration, grade));
  }
  QG_TRY(qg_subspace_iteration_measure(iteration, QG_PRODUCT_FINE, energy));
  return qg_subspace_iteration_ritz(iteration, &captured);
}

/* Whether MORE_STEPS would bring the energy outside down to what is negligible: each makes the last wanted
 * vector grow by t + sqrt(t^2 - 1) beside those that are damped. */
static bool can_converge(const qg_subspace_iteration *iteration, double outside)
{
  double damped = iteration->values[0], last = iteration->values[iteration->count - iteration->problem->rank];
  double t = 2 * last / damped - 1;
  if (!(damped > 0 && last > damped)) return true;
  return log(outside / (NEGLIGIBLE * iteration->problem->norm2)) <= 2 * MORE_STEPS * log(t + sqrt(t * t - 1));
}

/* A round of steps. *converged: nothing is left to find. */
static qg_status take_round(const qg_projection_problem *problem, qg_subspace_iteration *iteration,
                            bool *converged)
{
  double energy, before;
  QG_TRY(qg_subspace_iteration_measure(iteration, QG_PRODUCT_FINE, &energy));
  for (int step = 0; step < ROUND_STEPS && !*converged; step++) {
    before = energy;
    QG_TRY(qg_subspace_iteration_step(iteration, QG_PRODUCT_FINE));
    QG_TRY(qg_subspace_iteration_measure(iteration, QG_PRODUCT_FINE, &energy));
    *converged = has_converged(problem, energy, energy - before);
  }
  return QG_OK;
}

/* Every round begins with Ritz vectors: more of them settle, and the damped interval reaches further. */
static qg_status take_rounds(const qg_projection_problem *problem, qg_subspace_iteration *iteration,
                             bool *converged)
{
  double captured;
  for (int round = 0; round < ROUNDS && !*converged; round++) {
    qg_subspace_iteration_settle(iteration, count_settled(iteration, WHOLE_STEPS + round * ROUND_STEPS));
    QG_TRY(take_round(problem, iteration, converged));
    QG_TRY(qg_subspace_iteration_ritz(iteration, &captured));
  }
  return QG_OK;
}

qg_status qg_exact_iteration_solve(const qg_projection_problem *problem, qg_product_options products,
                                   qg_scratch scratch, qg_subspace_job *job, bool *converged)
{
  double energy;
  qg_subspace_iteration iteration;
  *converged = false;
  qg_subspace_iteration_lay_out(&scratch, problem->d, problem->length, problem->rank, with_fine(products),
                                &iteration);
  QG_TRY(take_first_steps(problem, job->seed, &iteration, &energy));
  *converged = has_converged(problem, energy, INFINITY);
  if (!*converged && can_converge(&iteration, problem->norm2 - energy))
    QG_TRY(take_rounds(problem, &iteration, converged));
  return *converged ? qg_subspace_iteration_publish(&iteration, QG_SUBSPACE_EXACT, job) : QG_OK;
}
