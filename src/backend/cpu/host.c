#include "qgalore/backend/host.h"

#include <stdalign.h>
#include <string.h>

#include "backend/cpu/bf16/panel_gemm.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/isa/normal_kernels.h"
#include "qgalore/numerics/quant_groups.h"

qg_host_bf16 qg_host_bf16_products(void)
{
  if (!qg_panels()) return QG_HOST_BF16_NONE;
  return qg_cpu_isa() == QG_CPU_AMX ? QG_HOST_BF16_FAR : QG_HOST_BF16_FASTER;
}

size_t qg_host_gemm_bytes(int threads)
{
  return qg_panels() ? qg_panel_gemm_workspace(threads) : 0;
}

void qg_host_gemm(int threads, void *workspace, const qg_gemm_args *args)
{
  qg_panel_gemm(threads, workspace, args);
}

double qg_host_sum_squares(qg_dtype type, int64_t count, const void *x)
{
  return qg_cpu_rows(type)->sum_squares(x, count);
}

float qg_host_largest(int64_t count, const float *x)
{
  return qg_cpu_rows(QG_F32)->largest(x, count);
}

void qg_normal_fill(qg_rng rng, float deviation, int64_t first, int64_t count, int threads, float *out)
{
  const qg_normal_kernels *kernels = QG_ISA_SELECT(qg_normal_kernels);
  int64_t whole = count - count % QG_GROUP;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < whole; i += QG_GROUP)
    kernels->group(rng, deviation, (uint64_t)(first + i), out + i);
  if (whole == count) return;
  alignas(64) float rest[QG_GROUP];
  kernels->group(rng, deviation, (uint64_t)(first + whole), rest);
  memcpy(out + whole, rest, (size_t)(count - whole) * sizeof *rest);
}
