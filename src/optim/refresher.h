/* Memory in which subspaces are solved, and the record of what was refreshed. */
#ifndef QG_OPTIM_REFRESHER_H
#define QG_OPTIM_REFRESHER_H

#include "optim/projected.h"

/* For up to `wave` subspaces in one call; host-readable f32 unless said otherwise. */
struct qg_refresher {
  int wave;
  int64_t basis_stride, gradient_stride, rank_stride; /* largest P, projected matrix and rank, in elements */
  float *previous, *basis;                            /* [wave, basis_stride] */
  float *singular_values;                             /* [wave, rank_stride] */
  float *gradients;                                   /* [wave, gradient_stride]; NULL in unified memory */
  float *rotation; /* [2, rank_stride^2] host copy of scratch.rotation; the same in unified memory */
  void *workspace;
  size_t workspace_bytes;
  void *device_workspace; /* of a device that solves subspaces; NULL: there is none */
  size_t device_workspace_bytes;
  float *device_basis; /* device [2, basis_stride]: a new basis, and what validates it */
  void *distributed;   /* [distributed_bytes]: this rank's part of a solution by all ranks */
  size_t distributed_bytes;
  qg_implicit_gradient implicit; /* scratch of an implicit gradient */
  qg_subspace_job *jobs;         /* [wave] */
  qg_projected **pending;        /* [wave] */
  qg_refresh_record *records;    /* [parameters] of this step */
  int step_refreshes, step_failed;
  int64_t failed_refreshes; /* of this run */
  qg_subspace_validation validation;
};

/* Takes its memory: for the subspaces of `count` projected sinks, [count], those of other ranks too.
 * `parameters`: of the model. */
qg_status qg_refresher_open(qg_optim_context *o, qg_projected *const *projected, int count, int parameters,
                            const qg_scratch_sizes *sizes);
void qg_refresher_close(qg_refresher *r);

void qg_refresher_begin(qg_refresher *r);
/* Counts and records a refresh. similarity: with the basis before, NaN at the first. */
void qg_refresher_note(qg_refresher *r, qg_projected *p, double similarity, double energy,
                       qg_subspace_method used);
double qg_refresher_mean_energy(const qg_refresher *r); /* of this step, 0 without refreshes */

#endif
