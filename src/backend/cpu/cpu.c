#include "backend/cpu/cpu.h"

qg_status qg_cpu_scratch(qg_backend *be, size_t bytes, const char *operation, void **out)
{
  qg_cpu *cpu = qg_cpu_of(be);
  QG_CHECK(bytes <= cpu->workspace_bytes, QG_ERR_RUNTIME,
           "%s needs %zu bytes of workspace, but %zu were reserved", operation, bytes, cpu->workspace_bytes);
  *out = cpu->workspace;
  return QG_OK;
}

const qg_row_kernels *qg_cpu_rows(qg_dtype type)
{
  return type == QG_BF16 ? QG_ISA_SELECT(qg_rows_bf16) : QG_ISA_SELECT(qg_rows_f32);
}

const qg_tile_kernels *qg_cpu_tiles(void)
{
  return QG_ISA_SELECT(qg_tiles);
}
