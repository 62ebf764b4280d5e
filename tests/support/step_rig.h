/* Steps of a tiny training job in one process, with a table of operations that the test may change. */
#ifndef QG_TESTS_STEP_RIG_H
#define QG_TESTS_STEP_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "qgalore/train.h"
#include "train/step.h"
#include "train/trainer.h"

enum {
  RIG_HIDDEN = 64,
  RIG_MLP = 160,
  RIG_LAYERS = 2,
  RIG_VOCAB = 96,
  RIG_LENGTH = 16,
  RIG_SEQUENCES = 2,
  RIG_TOKENS = RIG_LENGTH * RIG_SEQUENCES,
  RIG_RANK = 16
};

static const char rig_input[] =
    "[model]\nhidden_size = 64\nintermediate_size = 160\nnum_layers = 2\nnum_heads = 2\nvocab_size = 96\n"
    "[data]\ntrain = random:100000\n"
    "[train]\nsteps = 1000\nsequence_length = 16\nglobal_batch = 2\nmicro_batch = 2\n"
    "[qgalore]\nrank = 16\nupdate_gap = 100\n"
    "[backend]\nthreads = 1\n";

typedef struct {
  qg_config config;
  qg_backend *real, be; /* be: the real one with the table below */
  qg_backend_ops ops;
  qg_mem *mem;
  qg_trainer *trainer;
} step_rig;

static inline void rig_must(qg_status status)
{
  if (status != QG_OK) fail_msg("%s\n%s", qg_error_message(), qg_error_trace());
}

/* keys: "section.key=value", a blank between them. */
static inline void rig_read_input(step_rig *r, const char *keys)
{
  enum { MOST = 8 };
  char text[256], *overrides[MOST], *rest = text;
  int count = 0;
  *r = (step_rig){0};
  snprintf(text, sizeof text, "%s", keys);
  for (char *key; count < MOST && (key = strtok_r(rest, " ", &rest));) overrides[count++] = key;
  char path[] = "/tmp/qgalore-counts-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0 && write(file, rig_input, sizeof rig_input - 1) == (ssize_t)(sizeof rig_input - 1));
  close(file);
  qg_status status = qg_config_load(path, count, overrides, &r->config);
  unlink(path);
  rig_must(status);
}

/* `real` is closed with the rig. */
static inline void rig_take_backend(step_rig *r, qg_backend *real)
{
  r->real = real;
  r->be = *real;
  r->ops = *real->ops;
  r->be.ops = &r->ops;
}

/* Weights are drawn; the table is complete. */
static inline void rig_start(step_rig *r, qg_par *par)
{
  rig_must(qg_mem_create(&r->be, &r->mem));
  qg_trainer_request request = {
      .config = &r->config, .be = &r->be, .par = par, .mem = r->mem, .stage = 0, .stages = 1};
  rig_must(qg_trainer_create(&request, &r->trainer));
  rig_must(qg_trainer_open_data(r->trainer));
  rig_must(qg_optim_init_weights(qg_trainer_optim(r->trainer)));
  rig_must(qg_trainer_begin(r->trainer, 0.0));
}

static inline void rig_step(step_rig *r, int64_t number)
{
  qg_step_result result;
  rig_must(qg_train_step(r->trainer, number, number * RIG_SEQUENCES, NULL, &result));
}

static inline void rig_close(step_rig *r)
{
  qg_trainer_destroy(r->trainer);
  qg_mem_destroy(r->mem);
  qg_backend_close(r->real);
}

#endif
