/* How cuBLASLt multiplies each shape: the search for an algorithm takes longer than a small product, so its
 * result is kept. */
#ifndef QG_CUDA_GEMM_PLANS_H
#define QG_CUDA_GEMM_PLANS_H

#include <cublasLt.h>
#include <stdbool.h>
#include <stdint.h>

/* One column-major product C (m x n) = op(A) op(B) of depth k; everything that the choice of an algorithm may
 * depend on. Alignments in bytes. */
typedef struct {
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  int64_t trans_a, trans_b;          /* 0 or 1 */
  int64_t operand_type, result_type; /* cudaDataType */
  int64_t align_a, align_b, align_c;
} qg_gemm_key;
_Static_assert(sizeof(qg_gemm_key) == 13 * sizeof(int64_t), "keys compare as bytes: no gaps between members");

typedef struct {
  qg_gemm_key key;
  cublasLtMatmulDesc_t product;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algo;
  bool found; /* cuBLASLt has an algorithm */
} qg_gemm_plan;

/* The most shapes remembered; a LLaMA step asks for about thirty. */
enum { QG_GEMM_PLANS = 128 };

typedef struct {
  qg_gemm_plan plan[QG_GEMM_PLANS];
  int count, next; /* next: the one that makes room when all are in use */
} qg_gemm_plans;

/* The plan of a key, made at the first call with at most `workspace_bytes`. The plan is good until the next
 * call. */
cublasStatus_t qg_gemm_plan_get(qg_gemm_plans *plans, cublasLtHandle_t lt, const qg_gemm_key *key,
                                size_t workspace_bytes, const qg_gemm_plan **out);

/* Forgets all plans, as when the workspace changes. */
void qg_gemm_plans_clear(qg_gemm_plans *plans);

#endif
