/* metrics.jsonl: one object a line. Written by rank 0. */
#ifndef QG_TRAIN_METRICS_H
#define QG_TRAIN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/status.h"
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
/* Appends a whole line or nothing. Losses have 17 digits: equal text means equal bits. */
qg_status qg_metrics_write(qg_metrics *metrics, const qg_metrics_line *line);
/* Whether the last line that was kept is of the `step` of qg_metrics_open and without a validation loss. */
bool qg_metrics_lacks_validation(const qg_metrics *metrics);
/* Adds one to that line, before any other is written. */
qg_status qg_metrics_add_validation(qg_metrics *metrics, double val_loss, double val_bits_per_byte);
typedef struct {
  int64_t step, tokens; /* step -1: no line */
  double loss;          /* NaN if it was not finite */
} qg_metrics_last;

/* The last whole line. Local. */
qg_metrics_last qg_metrics_read_last(const char *folder);
/* The finite losses of the last lines up to `step`, at most `count` of them, oldest first. Returns how many;
 * none without the file. Local. */
int qg_metrics_recent_losses(const char *folder, int64_t step, double *loss, int count);
void qg_metrics_close(qg_metrics *metrics);

#endif
