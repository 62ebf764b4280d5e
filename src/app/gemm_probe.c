#include "app/gemm_probe.h"

qg_status qg_gemm_probe_open(qg_backend *be, int64_t side, qg_gemm_probe *out)
{
  const qg_workload workload = {.tokens = side,
                                .sequence_length = 1,
                                .hidden_size = side,
                                .intermediate_size = side,
                                .num_heads = 1,
                                .num_kv_heads = 1,
                                .vocab_size = side,
                                .loss_rows = side};
  *out = (qg_gemm_probe){.be = be,
                         .side = side,
                         .operand_bytes = qg_dtype_bytes(QG_F32, side * side),
                         .workspace_bytes = be->ops->workspace_bytes(be, &workload)};
  for (int i = 0; i < 3; i++) QG_TRY(be->ops->alloc(be, out->operand_bytes, &out->operand[i]));
  if (out->workspace_bytes == 0) return QG_OK;
  QG_TRY(be->ops->alloc(be, out->workspace_bytes, &out->workspace));
  be->ops->set_workspace(be, out->workspace, out->workspace_bytes);
  return QG_OK;
}

qg_status qg_gemm_probe_run(const qg_gemm_probe *probe, bool trans_a, bool trans_b, qg_dtype result)
{
  qg_backend *be = probe->be;
  int64_t side = probe->side;
  qg_gemm_args args = {.a = qg_view_make(probe->operand[0], be->compute, side, side),
                       .b = qg_view_make(probe->operand[1], be->compute, side, side),
                       .c = qg_view_make(probe->operand[2], result, side, side),
                       .trans_a = trans_a,
                       .trans_b = trans_b,
                       .alpha = 1.0f};
  return be->ops->gemm(be, &args);
}

void qg_gemm_probe_close(qg_gemm_probe *probe)
{
  const qg_backend_ops *ops = probe->be->ops;
  ops->set_workspace(probe->be, NULL, 0);
  for (int i = 0; i < 3; i++) ops->release(probe->be, probe->operand[i], probe->operand_bytes);
  ops->release(probe->be, probe->workspace, probe->workspace_bytes);
}
