#include <math.h>

#include "linalg/projection_problem.h"
#include "linalg/scalapack_grid.h"
#include "linalg/vectors.h"
#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"

qg_status qg_subspace_distributed_workspace(int rank, int size, bool is_owner, int64_t m, int64_t n,
                                            int64_t subspace_rank, size_t *bytes)
{
  int owner = is_owner ? rank : (rank + 1) % size;
  qg_scalapack_layout layout;
  qg_scratch measure = {0};
  *bytes = 0;
  QG_TRY(qg_scalapack_layout_make(rank, size, owner, m, n, subspace_rank, &layout));
  qg_scalapack_scratch_lay_out(&measure, &layout, &(qg_scalapack_scratch){0});
  *bytes = measure.used + QG_SCRATCH_ALIGN;
  return QG_OK;
}

/* Ranks that disagree about the job would wait for each other for ever. */
static qg_status check_same_job(qg_par *par, int owner, const qg_subspace_job *job)
{
  enum { COUNT = 4 };
  double mine[COUNT] = {(double)job->m, (double)job->n, (double)job->rank, (double)owner};
  double both[2 * COUNT];
  for (int i = 0; i < COUNT; i++) {
    both[i] = mine[i];
    both[COUNT + i] = -mine[i];
  }
  QG_TRY(qg_par_max(par, both, 2 * COUNT));
  for (int i = 0; i < COUNT; i++)
    QG_CHECK(both[i] == -both[COUNT + i], QG_ERR_RUNTIME,
             "the ranks were given different subspace jobs: rows, columns, rank and owner must be the same");
  return QG_OK;
}

/* What only this rank can check: its workspace, and on the owner the gradient. */
static qg_status check_here(const qg_scalapack_layout *layout, const qg_subspace_job *job,
                            const void *workspace, size_t bytes, size_t needed,
                            qg_projection_problem *problem)
{
  *problem = (qg_projection_problem){0};
  QG_CHECK(
      workspace && bytes >= needed, QG_ERR_RUNTIME,
      "a distributed subspace needs %zu bytes of workspace, not %zu (see qg_subspace_distributed_workspace)",
      needed, bytes);
  if (!layout->is_owner) return QG_OK;
  QG_CHECK(job->gradient && job->basis && job->singular_values, QG_ERR_RUNTIME,
           "the owner of a subspace job lacks its gradient or the room for its result");
  return qg_projection_problem_open(job, (qg_scratch){0}, problem);
}

static void scale(int64_t count, double factor, float *x)
{
  for (int64_t i = 0; i < count; i++) x[i] = (float)((double)x[i] * factor);
}

/* gram = H / unit^2: entries of the order of one keep the squares inside fp32. A power of two as unit keeps
 * every bit. */
static void form_gram(const qg_scalapack_layout *p, const qg_scalapack_grid *grid, const float *gradient,
                      double unit, qg_scalapack_scratch *s)
{
  const int one = 1;
  const float alpha = 1, beta = 0;
  qg_descriptor tall = qg_scalapack_spread(p, grid, p->n, p->m, p->tall_rows);
  qg_descriptor square = qg_scalapack_spread(p, grid, p->d, p->d, p->square_rows);
  qg_scalapack_scatter(grid, p->n, p->m, p->is_owner ? gradient : NULL, s->tall, &tall);
  scale((int64_t)p->tall_rows * p->tall_cols, 1 / unit, s->tall);
  pssyrk_("L", p->side == QG_SIDE_RIGHT ? "N" : "T", &p->d, &p->length, &alpha, s->tall, &one, &one, &tall,
          &beta, s->gram, &one, &one, &square);
}

static qg_status find_vectors(const qg_scalapack_layout *p, const qg_scalapack_grid *grid,
                              qg_scalapack_scratch *s)
{
  const int one = 1;
  int info = 0;
  qg_descriptor square = qg_scalapack_spread(p, grid, p->d, p->d, p->square_rows);
  pssyevd_("V", "L", &p->d, s->gram, &one, &one, &square, s->values, s->vectors, &one, &one, &square, s->work,
           &p->work_count, s->iwork, &p->iwork_count, &info);
  QG_CHECK(info >= 0, QG_ERR_RUNTIME, "pssyevd of order %d refused argument %d", p->d, -info);
  QG_CHECK(info == 0, QG_ERR_NUMERICAL, "pssyevd of order %d found no eigenvalues (info %d)", p->d, info);
  return QG_OK;
}

/* The vectors on the owner are orthonormalised once more, as those of the exact route are. */
static qg_status publish(const qg_scalapack_layout *p, const qg_projection_problem *problem, double unit,
                         qg_scalapack_scratch *s, qg_subspace_job *job)
{
  double norm2, largest;
  if (!p->is_owner) return QG_OK;
  QG_CHECK(qg_scan_f32((int64_t)p->rank * p->d, s->rows, &norm2, &largest), QG_ERR_NUMERICAL,
           "the eigenvectors of order %d left the finite numbers", p->d);
  QG_TRY(qg_orthonormalise(p->rank, p->d, s->rows, &s->orthonormal));
  for (int k = 0; k < p->rank; k++) s->eigenvalues[k] = (double)s->values[p->d - p->rank + k] * unit * unit;
  return qg_projection_problem_publish(problem, s->rows, s->eigenvalues, QG_SUBSPACE_SCALAPACK, job);
}

/* `largest` of the gradient is the same number on all ranks, and not zero. */
static qg_status solve_on_grid(qg_par *par, int owner, const qg_scalapack_layout *layout,
                               const qg_projection_problem *problem, double largest, qg_scalapack_scratch *s,
                               qg_subspace_job *job)
{
  qg_scalapack_grid grid;
  qg_status status;
  double unit = ldexp(1, ilogb(largest));
  QG_TRY(qg_scalapack_grid_open(par, layout, owner, &grid));
  form_gram(layout, &grid, job->gradient, unit, s);
  QG_TRY_OUT(qg_par_agree(par, find_vectors(layout, &grid, s)));
  qg_descriptor square = qg_scalapack_spread(layout, &grid, layout->d, layout->d, layout->square_rows);
  qg_scalapack_gather(&grid, layout->d, layout->rank, s->vectors, &square, layout->d - layout->rank, s->rows);
  QG_TRY_OUT(qg_par_agree(par, publish(layout, problem, unit, s, job)));
out:
  qg_scalapack_grid_close(&grid);
  return status;
}

static qg_status solve(qg_par *par, int owner, qg_subspace_job *job, void *workspace, size_t bytes)
{
  const qg_grid *ranks = qg_par_grid(par);
  qg_scalapack_layout layout;
  qg_scalapack_scratch s;
  qg_projection_problem problem;
  QG_TRY(check_same_job(par, owner, job));
  QG_TRY(qg_scalapack_layout_make(ranks->rank, ranks->size, owner, job->m, job->n, job->rank, &layout));
  qg_scratch scratch = {.base = workspace ? qg_scratch_align(workspace) : NULL};
  qg_scalapack_scratch_lay_out(&scratch, &layout, &s);
  QG_TRY(qg_par_agree(par,
                      check_here(&layout, job, workspace, bytes, scratch.used + QG_SCRATCH_ALIGN, &problem)));
  double largest = problem.largest;
  QG_TRY(qg_par_max(par, &largest, 1));
  if (largest > 0) return solve_on_grid(par, owner, &layout, &problem, largest, &s, job);
  if (layout.is_owner) qg_projection_problem_publish_zero(&problem, job);
  return QG_OK;
}

qg_status qg_subspace_solve_distributed(qg_par *par, int owner, qg_subspace_job *job, void *workspace,
                                        size_t workspace_bytes)
{
  job->status = solve(par, owner, job, workspace, workspace_bytes);
  return job->status;
}
