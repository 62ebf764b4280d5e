#include "support/bench/training.h"

#include "app/hardware.h"
#include "app/library_memory.h"

/* The ledger of a run knows what the program and its libraries take too. */
static qg_status create(training *t)
{
  const qg_grid *grid = qg_par_grid(t->par);
  const qg_state_entry *entries;
  int count;
  qg_mem_note(t->mem, QG_OWNER_RUNTIME, qg_memory_resident());
  qg_trainer_request request = {.config = &t->config,
                                .be = &t->timed.be,
                                .par = t->par,
                                .mem = t->mem,
                                .stage = grid->stage,
                                .stages = grid->stages};
  QG_TRY(qg_trainer_create(&request, &t->trainer));
  QG_TRY(qg_optim_state(qg_trainer_optim(t->trainer), &entries, &count));
  qg_mem_note(
      t->mem, QG_OWNER_RUNTIME,
      qg_library_memory_estimate(&t->config, t->real, qg_trainer_partition(t->trainer), entries, count));
  QG_TRY(qg_trainer_open_data(t->trainer));
  return qg_trainer_start_fresh(t->trainer);
}

qg_status training_open(const char *input, int overrides, const char *const *override, training *t)
{
  *t = (training){0};
  QG_TRY(qg_config_load(input, overrides, (char *const *) override, &t->config));
  QG_TRY(qg_par_init(NULL, NULL, &t->par));
  QG_TRY(qg_hardware_open_backend(&t->config, qg_par_grid(t->par), false, &t->real));
  QG_TRY(qg_library_memory_warm_up(t->real));
  timed_backend_make(t->real, &t->timed);
  QG_TRY(qg_mem_create(t->real, &t->mem));
  return qg_par_agree(t->par, create(t));
}

void training_close(training *t)
{
  qg_trainer_destroy(t->trainer);
  qg_mem_destroy(t->mem);
  onednn_close(&t->timed.onednn);
  if (t->real) qg_backend_close(t->real);
  if (t->par) qg_par_finalize(t->par);
}

double training_take_flops(training *t)
{
  double sum = 0;
  for (int kind = 0; kind < TIMED_COUNT; kind++) {
    sum += t->timed.flops[kind];
    t->timed.flops[kind] = 0;
  }
  return sum;
}
