#include "app/machine.h"

#include <sched.h>

#include "qgalore/base.h"
#include "qgalore/linalg.h"

int qg_machine_threads(const qg_config *config, const qg_grid *grid)
{
  if (config->backend.threads > 0) return (int)config->backend.threads;
  cpu_set_t allowed;
  int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return (int)qg_max_i64(1, cores / grid->local_size);
}

qg_status qg_machine_open_backend(const qg_config *config, const qg_grid *grid, qg_backend **out)
{
  int threads = qg_machine_threads(config, grid);
  qg_backend_request request = {config->backend.name, config->backend.precision, threads, grid->local_rank};
  qg_blas_threads(threads);
  return qg_backend_open(&request, out);
}

qg_status qg_machine_gemm_rate(qg_backend *be, double *flops)
{
  enum { SIDE = 1024, REPEATS = 4 };
  void *memory[3] = {NULL, NULL, NULL};
  size_t bytes = qg_dtype_bytes(QG_F32, (int64_t)SIDE * SIDE);
  qg_status status;
  for (int i = 0; i < 3; i++) QG_TRY_OUT(be->ops->alloc(be, bytes, &memory[i]));
  qg_gemm_args args = {.a = qg_view_make(memory[0], be->compute, SIDE, SIDE),
                       .b = qg_view_make(memory[1], be->compute, SIDE, SIDE),
                       .c = qg_view_make(memory[2], QG_F32, SIDE, SIDE),
                       .trans_b = true,
                       .alpha = 1.0f};
  double best = 0.0;
  for (int i = 0; i < REPEATS; i++) {
    double begin = qg_now();
    QG_TRY_OUT(be->ops->gemm(be, &args));
    QG_TRY_OUT(be->ops->sync(be));
    double rate = 2.0 * SIDE * SIDE * SIDE / (qg_now() - begin);
    best = rate > best ? rate : best;
  }
  *flops = best;
out:
  for (int i = 0; i < 3; i++) be->ops->release(be, memory[i], bytes);
  return status;
}
