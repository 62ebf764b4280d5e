#include "linalg/subspace_route.h"

#include <limits.h>

#include "linalg/eigen.h"
#include "linalg/exact.h"
#include "linalg/exact_iteration.h"
#include "linalg/power_iteration.h"
#include "linalg/vectors.h"
#include "qgalore/base.h"

/* From this short side on a matrix gets all threads, and its cold start is randomized: an exact solution is
 * then a matter of seconds. Below, threads inside one matrix cost more than they bring, so each matrix has
 * one. The rule looks at the shape alone, so that the bits of a result do not depend on the other jobs of a
 * call. */
enum { WIDE = 2048 };

static int64_t short_side(const qg_subspace_job *job)
{
  return qg_min_i64(job->m, job->n);
}

bool qg_subspace_is_wide(const qg_subspace_job *job)
{
  return short_side(job) >= WIDE;
}

/* No eigenproblem of the whole side: block power steps have to do. */
static bool iterates_alone(qg_subspace_method method, const qg_subspace_job *job)
{
  return method == QG_SUBSPACE_AUTO && qg_subspace_is_wide(job);
}

bool qg_subspace_prefers_implicit(qg_subspace_method method, int64_t m, int64_t n, int64_t tokens)
{
  qg_subspace_job shape = {.m = m, .n = n};
  return iterates_alone(method, &shape) && tokens < m * n / (m + n);
}

static qg_product_options product_options(const qg_subspace_options *options, const qg_subspace_job *job)
{
  return (qg_product_options){.threads = qg_subspace_is_wide(job) ? options->threads : 1,
                              .bf16 = options->bf16,
                              .implicit = job->implicit != NULL};
}

/* Where a block of a third of the short side or less may hold all there is, an eigenproblem of the whole is
 * not tried first; where the spectrum falls steeply it would have to be in double precision. */
static bool iterates_first(const qg_subspace_job *job)
{
  int64_t d = short_side(job);
  return 3 * qg_subspace_directions(job->rank, d) <= d;
}

size_t qg_subspace_job_bytes(const qg_subspace_options *options, const qg_subspace_job *job)
{
  int d = (int)short_side(job), length = (int)qg_max_i64(job->m, job->n), rank = (int)job->rank;
  qg_product_options products = product_options(options, job);
  size_t most =
      qg_max_size(qg_power_iteration_bytes(d, length, rank, products), qg_projection_problem_bytes(job));
  if (iterates_alone(options->method, job)) return most;
  if (iterates_first(job)) most = qg_max_size(most, qg_exact_iteration_bytes(d, length, rank, products));
  return qg_max_size(most, qg_exact_bytes(d, rank));
}

qg_status qg_subspace_check_job(qg_subspace_method method, const qg_subspace_job *job, int index)
{
  QG_CHECK((job->gradient || job->implicit) && job->basis && job->singular_values, QG_ERR_RUNTIME,
           "subspace job %d lacks its gradient or the room for its result", index);
  QG_CHECK(job->basis != job->previous, QG_ERR_RUNTIME,
           "subspace job %d would overwrite its old basis: the result needs memory of its own", index);
  QG_CHECK(job->rank >= 1 && job->rank <= short_side(job), QG_ERR_INPUT,
           "rank %lld of a %lld x %lld matrix: choose a rank from 1 to %lld", (long long)job->rank,
           (long long)job->m, (long long)job->n, (long long)short_side(job));
  QG_CHECK(job->gradient || iterates_alone(method, job), QG_ERR_RUNTIME,
           "subspace job %d needs its gradient formed (see qg_subspace_prefers_implicit)", index);
  QG_CHECK(iterates_alone(method, job) || short_side(job) <= QG_EIGEN_MAX_ORDER, QG_ERR_INPUT,
           "a %lld x %lld matrix is too wide for one rank (short side up to %d): use subspace.method = "
           "scalapack",
           (long long)job->m, (long long)job->n, QG_EIGEN_MAX_ORDER);
  QG_CHECK(job->m <= INT_MAX && job->n <= INT_MAX, QG_ERR_INPUT,
           "a %lld x %lld matrix is too long for the 32-bit integers of BLAS", (long long)job->m,
           (long long)job->n);
  return QG_OK;
}

/* An orthonormal basis, quantised or not, has no component far beyond 1. Others would carry the products with
 * the gradient out of fp32. */
static bool basis_is_usable(const qg_projection_problem *problem, const float *basis)
{
  double norm2, largest;
  return qg_scan_f32((int64_t)problem->rank * problem->d, basis, &norm2, &largest) && largest <= 2;
}

/* Power steps beyond the usual ones, before another route or where there is none. */
enum { MORE_STEPS = 1, MORE_STEPS_ALONE = 3 };

qg_subspace_try qg_subspace_first_try(qg_subspace_method method, int64_t m, int64_t n, bool has_previous)
{
  qg_subspace_job shape = {.m = m, .n = n};
  bool warm = method != QG_SUBSPACE_RANDOMIZED && has_previous;
  bool cold = method == QG_SUBSPACE_RANDOMIZED || qg_subspace_is_wide(&shape);
  return (qg_subspace_try){.exact = method == QG_SUBSPACE_EXACT || !(warm || cold),
                           .more_steps = iterates_alone(method, &shape) ? MORE_STEPS_ALONE : MORE_STEPS};
}

/* The routes of one job, tried in this order until one gives a result. */
typedef struct {
  bool power, exact;
  qg_power_iteration_options first;
} job_route;

static job_route choose_route(const qg_subspace_options *options, const qg_projection_problem *problem,
                              const qg_subspace_job *job)
{
  bool alone = iterates_alone(options->method, job), exact = options->method == QG_SUBSPACE_EXACT;
  bool warm = options->method != QG_SUBSPACE_RANDOMIZED && !exact && job->previous &&
              basis_is_usable(problem, job->previous);
  bool cold = options->method == QG_SUBSPACE_RANDOMIZED || qg_subspace_is_wide(job);
  return (job_route){
      .power = !exact && qg_projection_problem_fits_f32(problem) && (warm || cold),
      .exact = !alone,
      .first = {.products = product_options(options, job),
                .previous = warm ? job->previous : NULL,
                .min_energy_ratio = options->min_energy_ratio,
                .more_steps = alone ? MORE_STEPS_ALONE : MORE_STEPS,
                .last_resort = alone},
  };
}

/* Where the usual routes found nothing in a finite gradient. */
static qg_status last_resort(const qg_projection_problem *problem, qg_product_options products,
                             qg_scratch scratch, qg_subspace_job *job)
{
  const qg_power_iteration_options options = {.products = products, .last_resort = true};
  bool accepted;
  QG_CHECK(qg_projection_problem_fits_f32(problem), QG_ERR_NUMERICAL,
           "no subspace for a gradient of %lld x %lld with entries around %.1e", (long long)job->m,
           (long long)job->n, problem->largest);
  return qg_power_iteration_solve(problem, &options, scratch, job, &accepted);
}

static qg_status solve_exact(const qg_projection_problem *problem, qg_product_options products,
                             qg_scratch scratch, qg_subspace_job *job)
{
  bool solved;
  if (iterates_first(job) && qg_projection_problem_fits_f32(problem) &&
      qg_exact_iteration_solve(problem, products, scratch, job, &solved) == QG_OK && solved)
    return QG_OK;
  return qg_exact_solve(problem, scratch, job);
}

qg_status qg_subspace_solve_job(const qg_subspace_options *options, qg_subspace_job *job, qg_scratch scratch)
{
  qg_projection_problem problem;
  QG_TRY(qg_projection_problem_open(job, scratch, &problem));
  if (problem.norm2 == 0) {
    qg_projection_problem_publish_zero(&problem, job);
    return QG_OK;
  }
  job_route route = choose_route(options, &problem, job);
  bool accepted = false;
  if (route.power && qg_power_iteration_solve(&problem, &route.first, scratch, job, &accepted) == QG_OK &&
      accepted)
    return QG_OK;
  qg_product_options products = route.first.products;
  if (route.exact && solve_exact(&problem, products, scratch, job) == QG_OK) return QG_OK;
  return last_resort(&problem, products, scratch, job);
}
