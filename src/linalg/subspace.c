#include <cblas.h>
#include <math.h>
#include <omp.h>

#include "linalg/subspace_route.h"
#include "linalg/vectors.h"
#include "qgalore/base.h"

const char *qg_subspace_method_name(qg_subspace_method method)
{
  static const char *const names[] = {[QG_SUBSPACE_EXACT] = "exact",
                                      [QG_SUBSPACE_WARM] = "warm",
                                      [QG_SUBSPACE_RANDOMIZED] = "randomized",
                                      [QG_SUBSPACE_SCALAPACK] = "scalapack",
                                      [QG_SUBSPACE_AUTO] = "auto"};
  return names[method];
}

/* The OpenMP build of OpenBLAS takes its team size from OpenMP at every call; telling both keeps it from
 * resizing its buffers in the middle of a solve. */
void qg_blas_threads(int threads)
{
  omp_set_num_threads(threads);
  openblas_set_num_threads(threads);
}

/* Where the scratch of a call goes: `at_once` pieces of `narrow_bytes` for narrow jobs at once, and
 * afterwards the whole for one wide job after the other. */
typedef struct {
  int at_once;
  size_t narrow_bytes, wide_bytes;
} workspace_layout;

static workspace_layout lay_out_workspace(const qg_subspace_options *options, const qg_subspace_job *jobs,
                                          int count)
{
  workspace_layout layout = {0};
  int narrow = 0;
  for (int i = 0; i < count; i++) {
    size_t bytes = qg_subspace_job_bytes(options, &jobs[i]);
    size_t *largest = qg_subspace_is_wide(&jobs[i]) ? &layout.wide_bytes : &layout.narrow_bytes;
    if (bytes > *largest) *largest = bytes;
    narrow += !qg_subspace_is_wide(&jobs[i]);
  }
  layout.at_once = narrow < options->threads ? narrow : options->threads;
  return layout;
}

static size_t workspace_bytes_of(const workspace_layout *layout)
{
  size_t narrow = (size_t)layout->at_once * layout->narrow_bytes;
  return (narrow > layout->wide_bytes ? narrow : layout->wide_bytes) + QG_SCRATCH_ALIGN;
}

size_t qg_subspace_workspace(const qg_subspace_options *options, const qg_subspace_job *shapes, int count)
{
  workspace_layout layout = lay_out_workspace(options, shapes, count);
  return workspace_bytes_of(&layout);
}

static void solve_narrow(const qg_subspace_options *options, qg_subspace_job *jobs, int count,
                         const workspace_layout *layout, char *base)
{
#pragma omp parallel num_threads(layout->at_once)
  {
    qg_scratch scratch = {.base = base + (size_t)omp_get_thread_num() * layout->narrow_bytes};
    /* A team of one is no parallel region to OpenBLAS: it asks how many threads a new region would get. */
    omp_set_num_threads(1);
#pragma omp for schedule(dynamic)
    for (int i = 0; i < count; i++)
      if (!qg_subspace_is_wide(&jobs[i])) jobs[i].status = qg_subspace_solve_job(options, &jobs[i], scratch);
  }
}

static void solve_wide(const qg_subspace_options *options, qg_subspace_job *jobs, int count, char *base)
{
  for (int i = 0; i < count; i++)
    if (qg_subspace_is_wide(&jobs[i]))
      jobs[i].status = qg_subspace_solve_job(options, &jobs[i], (qg_scratch){.base = base});
}

qg_status qg_subspace_solve(const qg_subspace_options *options, qg_subspace_job *jobs, int count,
                            void *workspace, size_t workspace_bytes)
{
  QG_CHECK(options->method != QG_SUBSPACE_SCALAPACK, QG_ERR_RUNTIME,
           "ScaLAPACK subspaces are solved by all ranks together, with qg_subspace_solve_distributed");
  QG_CHECK(options->threads >= 1, QG_ERR_RUNTIME, "subspaces need at least one thread, not %d",
           options->threads);
  for (int i = 0; i < count; i++) QG_TRY(qg_subspace_check_job(options->method, &jobs[i], i));
  if (count == 0) return QG_OK;
  workspace_layout layout = lay_out_workspace(options, jobs, count);
  QG_CHECK(workspace_bytes >= workspace_bytes_of(&layout), QG_ERR_RUNTIME,
           "subspaces need %zu bytes of workspace, not %zu (see qg_subspace_workspace)",
           workspace_bytes_of(&layout), workspace_bytes);
  char *base = qg_scratch_align(workspace);
  int threads_before = omp_get_max_threads();
  qg_blas_threads(options->threads);
  if (layout.at_once > 0) solve_narrow(options, jobs, count, &layout, base);
  solve_wide(options, jobs, count, base);
  qg_blas_threads(threads_before);
  return QG_OK;
}

static size_t host_workspace(const qg_subspace_solver *self, const qg_subspace_job *shapes, int count)
{
  return qg_subspace_workspace(&self->options, shapes, count);
}

static qg_status host_solve(const qg_subspace_solver *self, qg_subspace_job *jobs, int count, void *workspace,
                            size_t workspace_bytes)
{
  return qg_subspace_solve(&self->options, jobs, count, workspace, workspace_bytes);
}

qg_subspace_solver qg_subspace_host_solver(const qg_subspace_options *options)
{
  return (qg_subspace_solver){.options = *options, .workspace = host_workspace, .solve = host_solve};
}

void qg_subspace_rotation(qg_side side, int64_t d, int64_t rank, const float *from, const float *to,
                          float *rotation)
{
  int r = (int)rank, side_length = (int)d;
  if (side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, r, side_length, 1, from, side_length, to,
                side_length, 0, rotation, r);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, r, r, side_length, 1, from, r, to, r, 0, rotation,
                r);
}

double qg_subspace_overlap(int64_t rank, const float *rotation)
{
  return fmin(qg_dot_f32(rank * rank, rotation, rotation) / (double)rank, 1);
}

double qg_subspace_cosine(qg_side side, int64_t d, int64_t rank, const float *a, const float *b)
{
  int64_t along = side == QG_SIDE_RIGHT ? 1 : rank;
  double ab = 0, aa = 0, bb = 0;
  for (int64_t j = 0; j < d; j++) {
    double x = (double)a[j * along], y = (double)b[j * along];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}
