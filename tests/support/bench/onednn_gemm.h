/* oneDNN's bf16 GEMM for comparison: its matmul where results are bf16, else its GEMM with fp32 results. */
#ifndef QG_TESTS_ONEDNN_GEMM_H
#define QG_TESTS_ONEDNN_GEMM_H

#include "backend/cpu/matmul.h"
#include "qgalore/backend.h"
#if QG_HAVE_ONEDNN
#include <dnnl.h>

/* Exported by oneDNN 2 and 3, declared by neither. */
dnnl_status_t dnnl_gemm_bf16bf16f32(char trans_a, char trans_b, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                    float alpha, const uint16_t *a, dnnl_dim_t lda, const uint16_t *b,
                                    dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);
#endif

/* Zeroed at first. */
typedef struct {
  qg_matmul *matmul;
} onednn_state;

static inline bool onednn_takes(const qg_gemm_args *g)
{
  return QG_HAVE_ONEDNN && g->a.type == QG_BF16;
}

static inline qg_status onednn_gemm(onednn_state *state, const qg_gemm_args *g)
{
#if QG_HAVE_ONEDNN
  bool done;
  if (!state->matmul) state->matmul = qg_matmul_create();
  QG_TRY(qg_matmul_try(state->matmul, g, &done));
  if (done) return QG_OK;
  dnnl_status_t status =
      dnnl_gemm_bf16bf16f32(g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', g->c.rows, g->c.cols,
                            g->trans_a ? g->a.rows : g->a.cols, g->alpha, g->a.data, g->a.stride, g->b.data,
                            g->b.stride, g->beta, g->c.data, g->c.stride);
  if (status == dnnl_success) return QG_OK;
#endif
  (void)state, (void)g;
  return QG_FAIL(QG_ERR_RUNTIME, "oneDNN refused a GEMM");
}

static inline void onednn_close(onednn_state *state)
{
  qg_matmul_destroy(state->matmul);
}

#endif
