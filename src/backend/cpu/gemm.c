/* GEMM: bf16 through oneDNN where the processor multiplies bf16, everything else through OpenBLAS. */
#include "backend/cpu/gemm.h"

#include <cblas.h>
#if QG_HAVE_ONEDNN
#include <dnnl.h>
#endif

#include "backend/cpu/bf16/panel_gemm.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/rowwise.h"
#include "qgalore/base.h"

enum { OUTPUT_ROWS = 256 }; /* rows of fp32 results that wait in cache for their rounding to bf16 */

#if QG_HAVE_ONEDNN
/* Exported by oneDNN 2 and 3, declared by neither. Row-major, C = alpha op(A) op(B) + beta C. */
dnnl_status_t dnnl_gemm_bf16bf16f32(char trans_a, char trans_b, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                    float alpha, const uint16_t *a, dnnl_dim_t lda, const uint16_t *b,
                                    dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);

/* A processor that was forced lower is lower for oneDNN as well. Has an effect before oneDNN's first
 * primitive. */
static void limit_onednn(qg_cpu_level level)
{
  static const dnnl_cpu_isa_t limits[] = {[QG_CPU_V2] = dnnl_cpu_isa_sse41,
                                          [QG_CPU_V3] = dnnl_cpu_isa_avx2,
                                          [QG_CPU_V4] = dnnl_cpu_isa_avx512_core,
                                          [QG_CPU_BF16] = dnnl_cpu_isa_avx512_core_bf16};
  if (level < QG_CPU_AMX) dnnl_set_max_cpu_isa(limits[level]);
}

bool qg_cpu_gemm_has_bf16(void)
{
  limit_onednn(qg_cpu_isa());
  const uint16_t one = 0x3f80;
  float product = 0.0f;
  return dnnl_gemm_bf16bf16f32('N', 'N', 1, 1, 1, 1.0f, &one, 1, &one, 1, 0.0f, &product, 1) ==
             dnnl_success &&
         product == 1.0f;
}

static qg_status multiply_bf16(const qg_gemm_args *g, float *c, int64_t stride, float beta)
{
  int64_t k = g->trans_a ? g->a.rows : g->a.cols;
  dnnl_status_t result =
      dnnl_gemm_bf16bf16f32(g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N', g->c.rows, g->c.cols, k, g->alpha,
                            g->a.data, g->a.stride, g->b.data, g->b.stride, beta, c, stride);
  QG_CHECK(result == dnnl_success, QG_ERR_RUNTIME,
           "oneDNN refused a bf16 GEMM of %lld x %lld x %lld (status %d)", (long long)g->c.rows,
           (long long)g->c.cols, (long long)k, (int)result);
  return QG_OK;
}
#else
bool qg_cpu_gemm_has_bf16(void)
{
  return false;
}

static qg_status multiply_bf16(const qg_gemm_args *g, float *c, int64_t stride, float beta)
{
  (void)g, (void)c, (void)stride, (void)beta;
  return QG_FAIL(QG_ERR_RUNTIME, "this build has no bf16 GEMM");
}
#endif

static qg_status multiply_f32(const qg_gemm_args *g, float *c, int64_t stride, float beta)
{
  int m, n, k, lda, ldb, ldc;
  QG_TRY(qg_narrow_int(g->c.rows, "rows of a GEMM", &m));
  QG_TRY(qg_narrow_int(g->c.cols, "columns of a GEMM", &n));
  QG_TRY(qg_narrow_int(g->trans_a ? g->a.rows : g->a.cols, "depth of a GEMM", &k));
  QG_TRY(qg_narrow_int(g->a.stride, "stride of a GEMM", &lda));
  QG_TRY(qg_narrow_int(g->b.stride, "stride of a GEMM", &ldb));
  QG_TRY(qg_narrow_int(stride, "stride of a GEMM", &ldc));
  cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
              m, n, k, g->alpha, g->a.data, lda, g->b.data, ldb, beta, c, ldc);
  return QG_OK;
}

static size_t view_floats(qg_view view)
{
  return (size_t)(view.rows * view.cols);
}

/* Without a bf16 GEMM the operands are widened whole. */
static qg_status widen(qg_backend *be, qg_view *operand, float **scratch)
{
  qg_view wide = qg_view_make(*scratch, QG_F32, operand->rows, operand->cols);
  QG_TRY(qg_cpu_convert(be, wide, *operand));
  *scratch += view_floats(*operand);
  *operand = wide;
  return QG_OK;
}

static qg_status multiply(qg_backend *be, const qg_gemm_args *args, float *c, int64_t stride, float beta)
{
  if (args->a.type == QG_F32) return multiply_f32(args, c, stride, beta);
  if (qg_cpu_of(be)->bf16_gemm) return multiply_bf16(args, c, stride, beta);
  qg_gemm_args wide = *args;
  void *scratch;
  size_t output = args->c.type == QG_BF16 ? OUTPUT_ROWS * (size_t)args->c.cols : 0;
  size_t floats = output + view_floats(args->a) + view_floats(args->b);
  QG_TRY(qg_cpu_scratch(be, floats * sizeof(float), "GEMM", &scratch));
  float *next = (float *)scratch + output;
  QG_TRY(widen(be, &wide.a, &next));
  QG_TRY(widen(be, &wide.b, &next));
  return multiply_f32(&wide, c, stride, beta);
}

/* c (bf16, rows of the whole) = beta c + product. */
static void round_rows(qg_backend *be, const float *product, qg_view c, float beta)
{
  const qg_row_kernels *rows = qg_cpu_rows(QG_BF16);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < c.rows; i++) {
    const float *from = product + i * c.cols;
    uint16_t *to = qg_row(c, i);
    if (beta == 0.0f) rows->from_float(from, to, c.cols);
    else if (beta == 1.0f)
      rows->add_from_float(1.0f, from, to, c.cols);
    else
      for (int64_t j = 0; j < c.cols; j++)
        to[j] = qg_bf16_from_float(from[j] + beta * qg_bf16_to_float(to[j]));
  }
}

static qg_status gemm_to_bf16(qg_backend *be, const qg_gemm_args *args)
{
  bool done;
  QG_TRY(qg_matmul_try(qg_cpu_of(be)->matmul, args, &done));
  if (done) return QG_OK;
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, OUTPUT_ROWS * (size_t)args->c.cols * sizeof(float), "GEMM", &scratch));
  for (int64_t first = 0; first < args->c.rows; first += OUTPUT_ROWS) {
    int64_t count = qg_min_i64(OUTPUT_ROWS, args->c.rows - first);
    qg_gemm_args part = *args;
    part.a = args->trans_a ? qg_view_cols(args->a, first, count) : qg_view_rows(args->a, first, count);
    part.c = qg_view_rows(args->c, first, count);
    QG_TRY(multiply(be, &part, scratch, args->c.cols, 0.0f));
    round_rows(be, scratch, part.c, args->beta);
  }
  return QG_OK;
}

static qg_status multiply_panels(qg_backend *be, const qg_gemm_args *args)
{
  void *workspace;
  QG_TRY(qg_cpu_scratch(be, qg_panel_gemm_workspace(be->threads), "GEMM", &workspace));
  qg_panel_gemm(be->threads, workspace, args);
  return QG_OK;
}

qg_status qg_cpu_gemm(qg_backend *be, const qg_gemm_args *args)
{
  if (args->c.rows == 0 || args->c.cols == 0) return QG_OK;
  if (args->a.type == QG_BF16 && qg_cpu_of(be)->panels) return multiply_panels(be, args);
  if (args->c.type == QG_BF16) return gemm_to_bf16(be, args);
  return multiply(be, args, args->c.data, args->c.stride, args->beta);
}

/* fp32 needs no scratch; bf16 waits for its rounding; without a bf16 GEMM the operands are widened as well.
 */
size_t qg_cpu_gemm_workspace(qg_backend *be, const qg_workload *w)
{
  int64_t widest = qg_max_i64(w->vocab_size, qg_max_i64(w->intermediate_size, w->hidden_size));
  int64_t output = OUTPUT_ROWS * widest;
  int64_t operands = (qg_max_i64(w->tokens, w->hidden_size) + w->hidden_size) * widest;
  if (be->compute == QG_F32) return 0;
  if (qg_cpu_of(be)->panels) return qg_panel_gemm_workspace(be->threads);
  return (size_t)(qg_cpu_of(be)->bf16_gemm ? output : output + operands) * sizeof(float);
}
