#include "cuda/gemm_plans.h"

#include <string.h>

#define TRY_CUBLAS(call)                                          \
  do {                                                            \
    cublasStatus_t try_status_ = (call);                          \
    if (try_status_ != CUBLAS_STATUS_SUCCESS) return try_status_; \
  } while (0)

/* Destroying nothing is left out: cuBLASLt does not promise to take NULL. */
static void destroy_plan(qg_gemm_plan *plan)
{
  if (plan->product) cublasLtMatmulDescDestroy(plan->product);
  if (plan->a) cublasLtMatrixLayoutDestroy(plan->a);
  if (plan->b) cublasLtMatrixLayoutDestroy(plan->b);
  if (plan->c) cublasLtMatrixLayoutDestroy(plan->c);
  memset(plan, 0, sizeof *plan);
}

static cublasStatus_t make_layout(cublasLtMatrixLayout_t *layout, int64_t type, int64_t rows, int64_t cols,
                                  int64_t ld, int64_t transposed)
{
  int64_t stored_rows = transposed ? cols : rows, stored_cols = transposed ? rows : cols;
  return cublasLtMatrixLayoutCreate(layout, (cudaDataType)type, (uint64_t)stored_rows, (uint64_t)stored_cols,
                                    ld);
}

static cublasStatus_t describe(qg_gemm_plan *plan)
{
  const qg_gemm_key *k = &plan->key;
  cublasOperation_t op_a = k->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                    op_b = k->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  TRY_CUBLAS(cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  TRY_CUBLAS(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
  TRY_CUBLAS(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
  TRY_CUBLAS(make_layout(&plan->a, k->operand_type, k->m, k->k, k->lda, k->trans_a));
  TRY_CUBLAS(make_layout(&plan->b, k->operand_type, k->k, k->n, k->ldb, k->trans_b));
  return make_layout(&plan->c, k->result_type, k->m, k->n, k->ldc, 0);
}

/* Sums of parts of the depth are added in fp32, and a result in bf16 is rounded once: without this the
 * library may round the parts as well. */
static uint32_t allowed_reductions(const qg_gemm_key *k)
{
  return k->result_type == CUDA_R_32F ? CUBLASLT_REDUCTION_SCHEME_MASK
                                      : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
}

static cublasStatus_t set_limits(cublasLtMatmulPreference_t preference, const qg_gemm_key *k,
                                 size_t workspace)
{
  uint64_t bytes = workspace;
  uint32_t reductions = allowed_reductions(k);
  static const cublasLtMatmulPreferenceAttributes_t names[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const uint32_t alignments[] = {(uint32_t)k->align_a, (uint32_t)k->align_b, (uint32_t)k->align_c,
                                 (uint32_t)k->align_c};
  TRY_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &bytes, sizeof bytes));
  TRY_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                  &reductions, sizeof reductions));
  for (int i = 0; i < 4; i++)
    TRY_CUBLAS(
        cublasLtMatmulPreferenceSetAttribute(preference, names[i], &alignments[i], sizeof alignments[i]));
  return CUBLAS_STATUS_SUCCESS;
}

/* Whatever keeps the search from an answer, such as an odd alignment: the caller has another way, which
 * reports what is really wrong. */
static cublasStatus_t choose_algorithm(qg_gemm_plan *plan, cublasLtHandle_t lt, size_t workspace)
{
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  TRY_CUBLAS(cublasLtMatmulPreferenceCreate(&preference));
  cublasStatus_t status = set_limits(preference, &plan->key, workspace);
  if (status == CUBLAS_STATUS_SUCCESS)
    status = cublasLtMatmulAlgoGetHeuristic(lt, plan->product, plan->a, plan->b, plan->c, plan->c, preference,
                                            1, &result, &found);
  cublasLtMatmulPreferenceDestroy(preference);
  plan->found = status == CUBLAS_STATUS_SUCCESS && found > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  if (plan->found) plan->algo = result.algo;
  return CUBLAS_STATUS_SUCCESS;
}

static qg_gemm_plan *free_plan(qg_gemm_plans *plans)
{
  if (plans->count < QG_GEMM_PLANS) return &plans->plan[plans->count++];
  qg_gemm_plan *oldest = &plans->plan[plans->next];
  plans->next = (plans->next + 1) % QG_GEMM_PLANS;
  destroy_plan(oldest);
  return oldest;
}

cublasStatus_t qg_gemm_plan_get(qg_gemm_plans *plans, cublasLtHandle_t lt, const qg_gemm_key *key,
                                size_t workspace_bytes, const qg_gemm_plan **out)
{
  for (int i = 0; i < plans->count; i++)
    if (memcmp(&plans->plan[i].key, key, sizeof *key) == 0) {
      *out = &plans->plan[i];
      return CUBLAS_STATUS_SUCCESS;
    }
  qg_gemm_plan *plan = free_plan(plans);
  plan->key = *key;
  cublasStatus_t status = describe(plan);
  if (status == CUBLAS_STATUS_SUCCESS) status = choose_algorithm(plan, lt, workspace_bytes);
  if (status != CUBLAS_STATUS_SUCCESS) destroy_plan(plan); /* an empty key matches no product */
  *out = plan;
  return status;
}

void qg_gemm_plans_clear(qg_gemm_plans *plans)
{
  for (int i = 0; i < plans->count; i++) destroy_plan(&plans->plan[i]);
  plans->count = plans->next = 0;
}
