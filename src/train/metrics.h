/* metrics.jsonl: one object a line; and the status file. Written by rank 0. */
#ifndef QG_TRAIN_METRICS_H
#define QG_TRAIN_METRICS_H

#include <stdint.h>

#include "qgalore/status.h"

typedef struct qg_metrics qg_metrics;

typedef struct {
  int64_t step, tokens; /* done after this step */
  double loss, grad_norm, lr, tokens_per_s;
  int64_t refreshes;
  double val_loss, val_bits_per_byte; /* NaN: not validated at this step */
} qg_metrics_line;

/* Opens <folder>/metrics.jsonl, keeping only the lines up to `step` (a resumed run repeats the later ones).
 * Local. */
qg_status qg_metrics_open(const char *folder, int64_t step, qg_metrics **out);
/* Appends a line, wholly or not at all. Losses have 17 digits: equal text means equal bits. */
qg_status qg_metrics_write(qg_metrics *metrics, const qg_metrics_line *line);
void qg_metrics_close(qg_metrics *metrics);

#endif
