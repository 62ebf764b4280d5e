#include "app/machine.h"

#include <sched.h>

#include "app/gemm_probe.h"
#include "qgalore/base.h"
#include "qgalore/linalg.h"

int qg_machine_threads(const qg_config *config, const qg_grid *grid)
{
  if (config->backend.threads > 0) return (int)config->backend.threads;
  cpu_set_t allowed;
  int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return (int)qg_max_i64(1, cores / grid->local_size);
}

qg_status qg_machine_open_backend(const qg_config *config, const qg_grid *grid, bool plan, qg_backend **out)
{
  int threads = qg_machine_threads(config, grid);
  qg_backend_request request = {.name = config->backend.name,
                                .precision = config->backend.precision,
                                .threads = threads,
                                .local_rank = grid->local_rank,
                                .fused_attention = config->backend.attention == QG_ATTENTION_FUSED,
                                .plan = plan};
  qg_blas_threads(threads);
  return qg_backend_open(&request, out);
}

qg_status qg_machine_gemm_rate(qg_backend *be, double *flops)
{
  enum { SIDE = 1024, REPEATS = 4 };
  qg_gemm_probe probe;
  qg_status status;
  double best = 0.0;
  QG_TRY_OUT(qg_gemm_probe_open(be, SIDE, &probe));
  for (int i = 0; i < REPEATS; i++) {
    double begin = qg_now();
    QG_TRY_OUT(qg_gemm_probe_run(&probe, false, true, QG_F32));
    QG_TRY_OUT(be->ops->sync(be));
    double rate = 2.0 * SIDE * SIDE * SIDE / (qg_now() - begin);
    best = rate > best ? rate : best;
  }
  *flops = best;
out:
  qg_gemm_probe_close(&probe);
  return status;
}
