/* What the optimizer is told. */
#ifndef QGALORE_OPTIM_OPTIONS_H
#define QGALORE_OPTIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/view.h"
#include "qgalore/linalg.h"
#include "qgalore/spec/method.h"
#include "qgalore/weights.h"

/* Every difference from the reference code is a member; compat = reference sets them all (src/config). */
typedef struct {
  qg_method method;
  double beta1, beta2, eps, weight_decay;
  int moment_bits;         /* 8 or 32; tensors under 4096 elements keep 32 */
  bool clamp_second_moment; /* keep v at what m allows, which 8 bits do not */
  int64_t moment_block;    /* elements per absmax of 8-bit moments */
  bool fused;              /* update each matrix in backward; needs one micro-batch a step */
  qg_dtype accumulators;   /* type of gradients that add up over micro-batches: QG_F32 or QG_BF16 */
  qg_dtype dense_type;     /* storage of unquantised weights: QG_F32 or QG_BF16 (then stochastic rounding per `stochastic`) */
  /* projected matrices */
  int64_t rank;
  double scale;
  int weight_bits;         /* 8: INT8 groups; 16, 32: dense */
  int projector_bits;      /* 4 or 32 */
  bool stochastic;         /* stochastic rounding when weights are stored */
  bool include_zero;       /* quantiser range contains 0 */
  bool bf16_arithmetic;    /* update arithmetic as in the reference */
  bool full_gradient;      /* form G, then project (reference); false: R = dY^T (X P^T) */
  bool project_head;       /* project embedding and output head too; their weights stay dense */
  bool rotate_moments;     /* moments follow the subspace at a refresh (doc/method.md section 9) */
  qg_sample sample;        /* gradient that a refresh sees: the whole batch or its first micro-batch */
  /* lazy refresh */
  int64_t update_gap;      /* T at start, steps */
  bool lazy;
  qg_similarity similarity;
  double similarity_threshold;
  int similarity_window;   /* k */
  int64_t max_update_gap;  /* 0: no cap */
  double shrink_threshold; /* mean similarity under which a longer T halves; 0: never */
  bool stagger;            /* spread refreshes over steps; false: at multiples of T, as the reference */
  qg_subspace_options subspace; /* of matrices that one rank factors alone */
  bool validate_subspaces; /* devices that solve subspaces compare each with the singular vectors (qg_subspace_validation) */
  int64_t distributed_min; /* short side from which all ranks factor a matrix together; 0: none */
  int this_rank, all_ranks; /* of the job, for the workspace of that; all_ranks 0 counts as alone */
  uint64_t seed;
} qg_optim_options;

/* Whether a method keeps the gradient of a parameter in a subspace, and how it stores the weight. Pure. */
bool qg_optim_projects(const qg_optim_options *options, const qg_param *param);
qg_weight_format qg_optim_weight_format(const qg_optim_options *options, const qg_param *param);

#endif
