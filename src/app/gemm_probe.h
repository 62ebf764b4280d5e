/* Square matrices and a workspace, to run products before the ledger has either. */
#ifndef QG_APP_GEMM_PROBE_H
#define QG_APP_GEMM_PROBE_H

#include "qgalore/backend.h"

typedef struct {
  qg_backend *be;
  int64_t side;
  void *operand[3]; /* a, b, c: f32 [side, side], or less */
  void *workspace;
  size_t operand_bytes, workspace_bytes;
} qg_gemm_probe;

/* Lends the backend a workspace. Close it in any case. Local. */
qg_status qg_gemm_probe_open(qg_backend *be, int64_t side, qg_gemm_probe *out);
/* c (f32, or the compute type) = op(a) op(b). */
qg_status qg_gemm_probe_run(const qg_gemm_probe *probe, bool trans_a, bool trans_b, qg_dtype result);
void qg_gemm_probe_close(qg_gemm_probe *probe);

#endif
