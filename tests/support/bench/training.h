/* A training job on the ranks of this program, without the application around it: for benches that time
 * single steps. */
#ifndef QG_TESTS_TRAINING_H
#define QG_TESTS_TRAINING_H

#include "support/bench/timed_backend.h"
#include "train/step.h"

typedef struct {
  qg_config config;
  qg_par *par;
  qg_backend *real;
  timed_backend timed; /* around `real`: counts FLOPs */
  qg_mem *mem;
  qg_trainer *trainer;
} training;

/* Reads an input file with overrides, takes all memory, opens the data and draws the initial weights. Close
 * it in any case. Starts MPI, so once in a process. */
qg_status training_open(const char *input, int overrides, const char *const *override, training *t);
void training_close(training *t);

/* Matrix products and attention since the last call, FLOPs. */
double training_take_flops(training *t);

#endif
