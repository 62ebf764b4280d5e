/* Column-major C = alpha op(A) op(B) + beta C in plain loops: sums in double, one rounding at the end. */
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "arena.h"
#include "counts.h"
#include "cublasLt.h"
#include "handles.h"
#include "qgalore/numerics/bf16.h"
#include "streams.h"

struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t op_a, op_b;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  uint64_t rows, cols;
  int64_t ld;
};

struct cublasLtMatmulPreferenceOpaque_t {
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignments[4] = {256, 256, 256, 256}; /* of a, b, c and d */
};

namespace {

struct matrix {
  char *data;
  cudaDataType type;
  int64_t ld;

  double at(int64_t i, int64_t j) const
  {
    if (type == CUDA_R_16BF)
      return static_cast<double>(qg_bf16_to_float(reinterpret_cast<uint16_t *>(data)[i + j * ld]));
    return static_cast<double>(reinterpret_cast<float *>(data)[i + j * ld]);
  }

  void set(int64_t i, int64_t j, double x)
  {
    if (type == CUDA_R_16BF)
      reinterpret_cast<uint16_t *>(data)[i + j * ld] = qg_bf16_from_float(static_cast<float>(x));
    else
      reinterpret_cast<float *>(data)[i + j * ld] = static_cast<float>(x);
  }
};

matrix make_matrix(const void *data, cudaDataType type, int64_t ld)
{
  return matrix{static_cast<char *>(const_cast<void *>(data)), type, ld};
}

size_t bytes_of(cudaDataType type)
{
  return type == CUDA_R_16BF ? 2 : 4;
}

struct product {
  cublasOperation_t op_a, op_b;
  int64_t m, n, k;
  double alpha, beta;
  matrix a, b, c;
  bool rounds_parts; /* of the depth, as reductions in the result's type do */
};

/* op(X), [length, columns], with `wide` neighbouring columns side by side and zeros up to a whole group of
 * them. */
std::vector<double> gather(const matrix &x, bool swap, int64_t length, int64_t columns, int64_t wide)
{
  std::vector<double> dense(static_cast<size_t>((columns + wide - 1) / wide * wide * length));
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < length; i++)
      dense[static_cast<size_t>((j / wide * length + i) * wide + j % wide)] = swap ? x.at(j, i) : x.at(i, j);
  return dense;
}

/* Sums over [from, to) side by side, each in the order of the depth: one alone would wait for its own last
 * addition each time. */
constexpr int WIDE = 16;

void dot_products(int64_t from, int64_t to, const double *x, const double *y, double *out)
{
  double sums[WIDE] = {};
  for (int64_t l = from; l < to; l++) {
#pragma GCC unroll 16 /* so that they stay in registers */
    for (int t = 0; t < WIDE; t++) sums[t] += x[l * WIDE + t] * y[l];
  }
  std::copy(sums, sums + WIDE, out);
}

double in_type(cudaDataType type, double x)
{
  float single = static_cast<float>(x);
  return static_cast<double>(type == CUDA_R_16BF ? qg_bf16_to_float(qg_bf16_from_float(single)) : single);
}

void sums_of(const product &p, const double *x, const double *y, double *out)
{
  if (!p.rounds_parts) return dot_products(0, p.k, x, y, out);
  double rest[WIDE];
  dot_products(0, p.k / 2, x, y, out);
  dot_products(p.k / 2, p.k, x, y, rest);
  for (int t = 0; t < WIDE; t++) out[t] = in_type(p.c.type, out[t]) + in_type(p.c.type, rest[t]);
}

void multiply(product p)
{
  cudaemu::device_access access;
  double flop = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  (p.a.type == CUDA_R_16BF ? cudaemu_counted.bf16_flop : cudaemu_counted.f32_flop) += flop;
  std::vector<double> a = gather(p.a, p.op_a == CUBLAS_OP_N, p.k, p.m, WIDE),
                      b = gather(p.b, p.op_b == CUBLAS_OP_T, p.k, p.n, 1);
  for (int64_t first = 0; first < p.m; first += WIDE)
    for (int64_t j = 0; j < p.n; j++) {
      double sums[WIDE];
      sums_of(p, &a[static_cast<size_t>(first * p.k)], &b[static_cast<size_t>(j * p.k)], sums);
      for (int64_t i = first; i < std::min(p.m, first + WIDE); i++)
        p.c.set(i, j, p.alpha * sums[i - first] + (p.beta == 0.0 ? 0.0 : p.beta * p.c.at(i, j)));
    }
}

/* What cuBLAS takes: equal operand types; results in fp32, or bf16 of bf16. */
bool is_supported(cudaDataType a, cudaDataType b, cudaDataType c)
{
  return a == b && (c == CUDA_R_32F || c == a);
}

/* Where an algorithm keeps what it was found for. */
enum { ROUNDS_PARTS = 0, ALIGNMENTS = 1 };

bool is_aligned(const cublasLtMatmulAlgo_t &algo, int operand, const void *address)
{
  return reinterpret_cast<uintptr_t>(address) % algo.data[ALIGNMENTS + operand] == 0;
}

float scalar(const void *value)
{
  return *static_cast<const float *>(value);
}

}  // namespace

const char *cublasGetStatusName(cublasStatus_t status)
{
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                               : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
  *handle = new cublasContext{nullptr, CUBLAS_DEFAULT_MATH};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t)
{
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k, const void *alpha,
                                          const void *a, cudaDataType a_type, int lda, long long stride_a,
                                          const void *b, cudaDataType b_type, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType c_type, int ldc,
                                          long long stride_c, int batch, cublasComputeType_t,
                                          cublasGemmAlgo_t)
{
  if (!is_supported(a_type, b_type, c_type)) return CUBLAS_STATUS_NOT_SUPPORTED;
  cudaemu_counted.launches++;
  product p = {op_a,
               op_b,
               m,
               n,
               k,
               static_cast<double>(scalar(alpha)),
               static_cast<double>(scalar(beta)),
               make_matrix(a, a_type, lda),
               make_matrix(b, b_type, ldb),
               make_matrix(c, c_type, ldc),
               handle->math != CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION};
  for (int i = 0; i < batch; i++) {
    cudaemu::queue(handle->stream, [p] { multiply(p); });
    p.a.data += static_cast<size_t>(stride_a) * bytes_of(a_type);
    p.b.data += static_cast<size_t>(stride_b) * bytes_of(b_type);
    p.c.data += static_cast<size_t>(stride_c) * bytes_of(c_type);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void *alpha, const void *a, cudaDataType a_type, int lda,
                            const void *b, cudaDataType b_type, int ldb, const void *beta, void *c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
  return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0,
                                    beta, c, c_type, ldc, 0, 1, compute, algo);
}

size_t cublasLtGetVersion(void)
{
  return 130100;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
  *handle = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t)
{
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t, cudaDataType)
{
  *desc = new cublasLtMatmulDescOpaque_t{CUBLAS_OP_N, CUBLAS_OP_N};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes)
{
  if (bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  (name == CUBLASLT_MATMUL_DESC_TRANSA ? desc->op_a : desc->op_b) =
      *static_cast<const cublasOperation_t *>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
  if (ld < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
  *preference = new cublasLtMatmulPreferenceOpaque_t();
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t)
{
  if (name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    preference->reductions = *static_cast<const uint32_t *>(value);
  if (name >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
    preference->alignments[name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] =
        *static_cast<const uint32_t *>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t *results, int *found)
{
  *found = is_supported(a->type, b->type, c->type) && !getenv("CUDAEMU_NO_LT");
  results[0] = {};
  results[0].algo.data[ROUNDS_PARTS] = preference->reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
  for (int i = 0; i < 4; i++) results[0].algo.data[ALIGNMENTS + i] = preference->alignments[i];
  return *found ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *,
                              size_t, cudaStream_t stream)
{
  bool swapped = desc->op_a == CUBLAS_OP_T;
  int64_t k = static_cast<int64_t>(swapped ? a_layout->rows : a_layout->cols);
  int64_t k_of_b = static_cast<int64_t>(desc->op_b == CUBLAS_OP_T ? b_layout->cols : b_layout->rows);
  int64_t m = static_cast<int64_t>(swapped ? a_layout->cols : a_layout->rows);
  if (c != d || k != k_of_b || m != static_cast<int64_t>(d_layout->rows) || c_layout->ld != d_layout->ld)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_aligned(*algo, 0, a) || !is_aligned(*algo, 1, b) || !is_aligned(*algo, 2, c) ||
      !is_aligned(*algo, 3, d))
    return CUBLAS_STATUS_INVALID_VALUE;
  product p = {desc->op_a,
               desc->op_b,
               m,
               static_cast<int64_t>(d_layout->cols),
               k,
               static_cast<double>(scalar(alpha)),
               static_cast<double>(scalar(beta)),
               make_matrix(a, a_layout->type, a_layout->ld),
               make_matrix(b, b_layout->type, b_layout->ld),
               make_matrix(d, d_layout->type, d_layout->ld),
               algo->data[ROUNDS_PARTS] != 0};
  cudaemu_counted.launches++;
  cudaemu::queue(stream, [p] { multiply(p); });
  return CUBLAS_STATUS_SUCCESS;
}
