/* A few fixed tokens, whose loss tells whether the weights of a checkpoint have come back as they were: a
 * checkpoint carries both, and loading computes the loss again. */
#ifndef QG_TRAIN_CHECKPOINT_SELFTEST_H
#define QG_TRAIN_CHECKPOINT_SELFTEST_H

#include "qgalore/ckpt.h"
#include "qgalore/model.h"
#include "qgalore/train.h"
#include "train/channel.h"

/* The probe goes through a stage of its own, as short as itself, that shares the weights. */
typedef struct {
  int64_t tokens;               /* one sequence; 0: there is no probe */
  int32_t *ids;                 /* host [tokens + 1], the same on every rank: inputs, and one later targets */
  qg_stage *stage;              /* NULL if there is no probe */
  qg_channel received, to_send; /* activations of the stage before, and for the one after */
} qg_selftest;

/* Takes the memory of t->selftest and draws the ids from the seed of the run. Local. */
qg_status qg_selftest_create(qg_trainer *t);
void qg_selftest_destroy(qg_selftest *probe);

/* The ids as named state, which the first rank writes and every rank reads. */
qg_state_entry qg_selftest_entry(const qg_trainer *t);

/* Nats per token of the ids; NaN if there is no probe. Between steps only: uses the buffers of the batch.
 * Collective. */
qg_status qg_selftest_loss(qg_trainer *t, double *loss);

/* After loading: QG_ERR_CHECKPOINT if the loss is not the one that was saved. Every bit counts where the
 * arrangement is the same, whatever the number of ranks; elsewhere a relative difference of 1e-5 between two
 * fp32 runs and of 0.005 where bf16 takes part. Collective. */
qg_status qg_selftest_check(qg_trainer *t, const qg_ckpt_meta *saved);

/* What the bits of a loss may depend on: precision, processor, threads, program. Not the stages: bits do not
 * depend on ranks. */
enum { QG_ARRANGEMENT = 256 };
void qg_selftest_arrangement(const qg_trainer *t, char text[QG_ARRANGEMENT]);

#endif
