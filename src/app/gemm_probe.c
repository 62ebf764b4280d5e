#include "app/gemm_probe.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/philox.h"

enum { BLOCK = 1 << 16 }; /* elements that repeat */

static void fill_block(qg_dtype type, void *block)
{
  const qg_rng rng = {.seed = 1};
  for (int i = 0; i < BLOCK; i++) {
    float x = 2.0f * qg_rng_unit_at(rng, (uint64_t)i) - 1.0f;
    if (type == QG_BF16) ((uint16_t *)block)[i] = qg_bf16_from_float(x);
    else
      ((float *)block)[i] = x;
  }
}

static qg_status fill_operand(const qg_gemm_probe *probe, void *operand, const void *block)
{
  qg_backend *be = probe->be;
  int64_t count = probe->side * probe->side;
  for (int64_t first = 0; first < count; first += BLOCK)
    QG_TRY(be->ops->copy_in(be, (char *)operand + qg_dtype_bytes(be->compute, first), block,
                            qg_dtype_bytes(be->compute, qg_min_i64(BLOCK, count - first))));
  return QG_OK;
}

/* Numbers in (-1, 1): zeros multiply faster, for a device then draws less power and keeps a higher clock. */
static qg_status fill_operands(const qg_gemm_probe *probe)
{
  qg_dtype type = probe->be->compute;
  void *block;
  qg_status status;
  QG_TRY(qg_calloc(BLOCK, qg_dtype_bytes(type, 1), "numbers for a product", &block));
  fill_block(type, block);
  for (int i = 0; i < 2; i++) QG_TRY_OUT(fill_operand(probe, probe->operand[i], block));
out:
  free(block);
  return status;
}

qg_status qg_gemm_probe_open(qg_backend *be, int64_t side, qg_gemm_probe *out)
{
  const qg_workload workload = {.tokens = side,
                                .sequence_length = 1,
                                .hidden_size = side,
                                .intermediate_size = side,
                                .num_heads = 1,
                                .num_kv_heads = 1,
                                .vocab_size = side,
                                .logit_chunk_tokens = side};
  *out = (qg_gemm_probe){.be = be,
                         .side = side,
                         .operand_bytes = qg_dtype_bytes(QG_F32, side * side),
                         .workspace_bytes = be->ops->workspace_bytes(be, &workload)};
  for (int i = 0; i < 3; i++) QG_TRY(be->ops->alloc(be, out->operand_bytes, &out->operand[i]));
  QG_TRY(fill_operands(out));
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
