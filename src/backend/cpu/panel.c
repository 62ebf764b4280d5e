#include "backend/cpu/panel.h"

#include <stddef.h>

#include "backend/cpu/isa.h"

#if defined(__x86_64__)
#include "backend/cpu/bf16/panel_tables.h"

const qg_panel_kernels *qg_panels(void)
{
  qg_cpu_level level = qg_cpu_isa();
  return level == QG_CPU_AMX ? &qg_panels_amx : level == QG_CPU_BF16 ? &qg_panels_avx512 : NULL;
}
#else
/* Without src/backend/cpu/bf16: nobody calls the rest when there are no panels. */
#include "backend/cpu/bf16/attention_bf16.h"
#include "backend/cpu/bf16/panel_gemm.h"
#include "qgalore/backend/host.h"

const qg_panel_kernels *qg_panels(void)
{
  return NULL;
}

size_t qg_panel_gemm_workspace(int threads)
{
  (void)threads;
  return 0;
}

void qg_panel_gemm(int threads, void *workspace, const qg_gemm_args *args)
{
  (void)threads, (void)workspace, (void)args;
}

void qg_host_split(int64_t count, const float *x, uint16_t *high, uint16_t *low)
{
  (void)count, (void)x, (void)high, (void)low;
}

size_t qg_attention_bf16_workspace(int threads, int64_t sequence_length, int64_t keys, int64_t head_dim)
{
  (void)threads, (void)sequence_length, (void)keys, (void)head_dim;
  return 0;
}

qg_status qg_attention_bf16(qg_backend *be, const qg_attention_args *args)
{
  (void)be, (void)args;
  return QG_FAIL(QG_ERR_RUNTIME, "this build has no attention in bf16");
}

qg_status qg_attention_backward_bf16(qg_backend *be, const qg_attention_args *args)
{
  (void)be, (void)args;
  return QG_FAIL(QG_ERR_RUNTIME, "this build has no attention in bf16");
}
#endif
