/* What a loss spike is: a loss far above its recent mean. Depends on losses alone, which all ranks share, so
 * all ranks see the same spikes. */
#ifndef QG_TRAIN_LOSS_SPIKE_H
#define QG_TRAIN_LOSS_SPIKE_H

#include <stdbool.h>

enum {
  QG_LOSS_WINDOW = 32,   /* losses of the mean; run.spike_factor's documentation says so */
  QG_LOSS_WINDOW_MIN = 8 /* fewer give no mean to trust */
};

/* A value: the losses of the last steps, oldest first. */
typedef struct {
  int count;
  double loss[QG_LOSS_WINDOW];
} qg_loss_window;

/* Adds a loss; one that is not finite is left out. */
void qg_loss_window_add(qg_loss_window *window, double loss);

/* loss > factor x mean of the window. Never with factor 0, or under QG_LOSS_WINDOW_MIN losses. Pure. */
bool qg_loss_is_spike(const qg_loss_window *window, double factor, double loss);

#endif
