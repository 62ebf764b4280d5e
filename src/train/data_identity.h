/* Which tokens a run is trained on: checkpoints keep it, and a restart compares. */
#ifndef QG_TRAIN_DATA_IDENTITY_H
#define QG_TRAIN_DATA_IDENTITY_H

#include "qgalore/ckpt.h"
#include "train/trainer.h"

enum { QG_DATA_IDENTITY = 320 };

/* "from sequence N: T tokens in D documents, vocabulary V, tokenizer H, content C": what a checkpoint keeps
 * of the data of this run. Rank 0. */
void qg_data_identity(const qg_trainer *trainer, char text[QG_DATA_IDENTITY]);

/* Compares the data of this run with those of a checkpoint and sets where in the run they begin. QG_ERR_INPUT
 * if they are others, unless data.on_change = continue: then these begin here, which is logged. Collective.
 */
qg_status qg_data_identity_check(qg_trainer *trainer, const qg_log *log, const qg_ckpt_meta *saved);

#endif
