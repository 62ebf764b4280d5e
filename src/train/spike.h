/* What a loss spike is: a loss far above its recent mean. Depends on losses alone, which all ranks share, so
 * all ranks see the same spikes. */
#ifndef QG_TRAIN_SPIKE_H
#define QG_TRAIN_SPIKE_H

#include <stdbool.h>

enum {
  QG_SPIKE_WINDOW = 32, /* losses of the mean; run.spike_factor's documentation says so */
  QG_SPIKE_LEAST = 8    /* fewer give no mean to trust */
};

/* A value: the losses of the last steps, oldest first. */
typedef struct {
  int count;
  double loss[QG_SPIKE_WINDOW];
} qg_spike_window;

/* Adds a loss; one that is not finite is left out. */
void qg_spike_add(qg_spike_window *window, double loss);

/* loss > factor x mean of the window. Never with factor 0, or under QG_SPIKE_LEAST losses. Pure. */
bool qg_spike_seen(const qg_spike_window *window, double factor, double loss);

#endif
