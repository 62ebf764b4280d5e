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
const qg_panel_kernels *qg_panels(void)
{
  return NULL;
}
#endif
