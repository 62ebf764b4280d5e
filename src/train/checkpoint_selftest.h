/* A few fixed tokens, whose loss tells whether the weights of a checkpoint have come back as they were: a
 * checkpoint carries both, and loading computes the loss again. */
#ifndef QG_TRAIN_CHECKPOINT_SELFTEST_H
#define QG_TRAIN_CHECKPOINT_SELFTEST_H

#include "qgalore/ckpt.h"
#include "qgalore/model.h"
#include "qgalore/train.h"
#include "train/channel.h"

/* What the self-test uses of the trainer. All of it must outlive the self-test. */
typedef struct {
  const qg_config *config;
  qg_backend *be;
  qg_par *par; /* NULL: memory is only planned */
  qg_mem *mem;
  const qg_partition *part;
  int stage_index, stages;
  bool device_pointers; /* as in qg_trainer_request */
  const qg_weight_reader *weights;
  int32_t *inputs,
      *targets; /* device memory of a step's batch, free between steps; NULL where a stage has none */
  double *loss; /* device f64 [1], last stage */
} qg_selftest_request;

/* The tokens go through a stage of their own, as short as they are, that shares the weights. */
typedef struct {
  qg_selftest_request use;
  int64_t tokens;               /* one sequence; 0: there is no self-test */
  int32_t *ids;                 /* host [tokens + 1], the same on every rank: inputs, and one later targets */
  qg_stage *stage;              /* NULL if there is no self-test */
  qg_channel received, to_send; /* activations of the stage before, and for the one after */
} qg_selftest;

/* Takes its memory from the ledger and draws the ids from the seed of the run. Local. */
qg_status qg_selftest_create(const qg_selftest_request *request, qg_selftest *out);
void qg_selftest_destroy(qg_selftest *test);

/* The ids as named state, which the first rank writes and every rank reads. */
qg_state_entry qg_selftest_entry(const qg_selftest *test);

/* Nats per token of the ids; NaN if there is no self-test. Between steps only: uses the buffers of the batch.
 * Collective. */
qg_status qg_selftest_loss(qg_selftest *test, double *loss);

/* After loading: QG_ERR_CHECKPOINT if the loss is not the one that was saved. Every bit counts where the
 * arrangement is the same, whatever the number of ranks; elsewhere a relative difference of 1e-5 between two
 * fp32 runs and of 0.005 where bf16 takes part. Collective. */
qg_status qg_selftest_check(qg_selftest *test, const qg_ckpt_meta *saved);

/* What the bits of a loss may depend on: precision, processor, threads, program. Not the stages: bits do not
 * depend on ranks. */
enum { QG_ARRANGEMENT = 256 };
void qg_selftest_arrangement(const qg_config *config, const qg_backend *be, char text[QG_ARRANGEMENT]);

#endif
