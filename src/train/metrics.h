/* metrics.jsonl: one object a line; and the status file. Written by rank 0. */
#ifndef QG_TRAIN_METRICS_H
#define QG_TRAIN_METRICS_H

#include <stdint.h>

#include "qgalore/status.h"
#include "train/step.h"

typedef struct qg_metrics qg_metrics;

typedef struct {
  int64_t step, tokens; /* done after this step */
  double tokens_per_s;
  const qg_step_result *result;
  double val_loss, val_bits_per_byte; /* NaN: not validated at this step */
} qg_metrics_line;

/* `shape` names the parameters of refreshes. Opens <folder>/metrics.jsonl, keeping only the lines up to
 * `step` (a resumed run repeats the later ones). Local. */
qg_status qg_metrics_open(const char *folder, const qg_model_shape *shape, int64_t step, qg_metrics **out);
/* Appends a line, wholly or not at all. Losses have 17 digits: equal text means equal bits. */
qg_status qg_metrics_write(qg_metrics *metrics, const qg_metrics_line *line);
void qg_metrics_close(qg_metrics *metrics);

#endif
