#include "app/hardware.h"

#include <math.h>
#include <sched.h>

#include "app/gemm_probe.h"
#include "qgalore/base.h"
#include "qgalore/linalg.h"

int qg_hardware_threads(const qg_config *config, const qg_grid *grid)
{
  if (config->backend.threads > 0) return (int)config->backend.threads;
  cpu_set_t allowed;
  int cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return (int)qg_max_i64(1, cores / grid->local_size);
}

qg_status qg_hardware_open_backend(const qg_config *config, const qg_grid *grid, bool plan, qg_backend **out)
{
  int threads = qg_hardware_threads(config, grid);
  qg_backend_request request = {.name = config->backend.name,
                                .precision = config->backend.precision,
                                .threads = threads,
                                .local_rank = grid->local_rank,
                                .fused_attention = config->backend.attention == QG_ATTENTION_FUSED,
                                .plan = plan};
  qg_blas_threads(threads);
  return qg_backend_open(&request, out);
}

/* Seconds of a product of square matrices, the shortest of some. */
static qg_status time_product(qg_backend *be, int64_t side, double *seconds)
{
  enum { REPEATS = 4 };
  qg_gemm_probe probe;
  qg_status status;
  *seconds = INFINITY;
  QG_TRY_OUT(qg_gemm_probe_open(be, side, &probe));
  for (int i = 0; i < REPEATS; i++) {
    double begin = qg_now();
    QG_TRY_OUT(qg_gemm_probe_run(&probe, false, true, QG_F32));
    QG_TRY_OUT(be->ops->sync(be));
    *seconds = fmin(*seconds, qg_now() - begin);
  }
out:
  qg_gemm_probe_close(&probe);
  return status;
}

/* A device needs some 10 us for a launch and a wait, and tiles for all of its multiprocessors: it gets larger
 * matrices until these do not count. */
qg_status qg_hardware_gemm_rate(qg_backend *be, double *flops)
{
  enum { SIDE = 1024, LARGEST_DEVICE_SIDE = 8192 };
  const double long_enough = 1e-3;
  int64_t largest = be->ops->unified_memory ? SIDE : LARGEST_DEVICE_SIDE;
  double seconds = 0.0;
  *flops = 0.0;
  for (int64_t side = SIDE; side <= largest && seconds < long_enough; side *= 2) {
    QG_TRY(time_product(be, side, &seconds));
    *flops = fmax(*flops, 2.0 * (double)side * (double)side * (double)side / seconds);
  }
  return QG_OK;
}
