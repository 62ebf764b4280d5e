/* bf16 products with bf16 results by oneDNN's matmul, which rounds its
 * accumulators in registers. A primitive is generated once per shape and kept.
 */
#ifndef QG_BACKEND_CPU_MATMUL_H
#define QG_BACKEND_CPU_MATMUL_H

#include "qgalore/backend.h"

typedef struct qg_matmul qg_matmul;

/* NULL if this build or processor has no matmul: then nothing is ever done. */
qg_matmul *qg_matmul_create(void);
void qg_matmul_destroy(qg_matmul *matmul);

/* Computes the GEMM and sets *done, or leaves C alone: for NULL, other types
 * and scalings than alpha 1, beta 0 or 1. */
qg_status qg_matmul_try(qg_matmul *matmul, const qg_gemm_args *args, bool *done);

#endif
