#include "app/dry_run.h"

#include "app/library_memory.h"
#include "qgalore/ckpt.h"
#include "qgalore/train.h"
#include "train/evaluator.h"

static qg_status open_ledger(qg_backend *be, size_t runtime, qg_dry_run *out)
{
  *out = (qg_dry_run){0};
  QG_TRY(qg_mem_create(NULL, &out->mem));
  qg_mem_note(out->mem, QG_OWNER_RUNTIME, runtime);
  qg_mem_note_device(out->mem, &be->share);
  return QG_OK;
}

static qg_trainer_request request_of(const qg_config *config, qg_backend *be, int stage, int stages,
                                     qg_mem *mem)
{
  return (qg_trainer_request){.config = config,
                              .be = be,
                              .mem = mem,
                              .stage = stage,
                              .stages = stages,
                              .device_pointers = config->parallel.transport == QG_TRANSPORT_DEVICE};
}

static void count_rest(const qg_config *config, const qg_backend *be, const qg_state_entry *entries,
                       int count, qg_dry_run *out)
{
  out->checkpoint = qg_ckpt_bytes(entries, count);
  qg_mem_note(out->mem, QG_OWNER_RUNTIME, qg_library_memory_estimate(config, be, &out->part, entries, count));
}

qg_status qg_dry_run_training(const qg_config *config, qg_backend *be, int stage, int stages, size_t runtime,
                              qg_dry_run *out)
{
  qg_trainer *trainer = NULL;
  const qg_state_entry *entries;
  qg_status status;
  int count;
  QG_TRY(open_ledger(be, runtime, out));
  qg_trainer_request request = request_of(config, be, stage, stages, out->mem);
  QG_TRY_OUT(qg_trainer_create(&request, &trainer));
  QG_TRY_OUT(qg_optim_state(qg_trainer_optim(trainer), &entries, &count));
  out->part = *qg_trainer_partition(trainer);
  count_rest(config, be, entries, count, out);
out:
  qg_trainer_destroy(trainer);
  return status;
}

qg_status qg_dry_run_evaluation(const qg_config *config, qg_backend *be, int stage, int stages,
                                size_t runtime, qg_dry_run *out)
{
  qg_evaluator evaluator = {0};
  qg_status status;
  QG_TRY(open_ledger(be, runtime, out));
  qg_trainer_request request = request_of(config, be, stage, stages, out->mem);
  QG_TRY_OUT(qg_evaluator_create(&request, &evaluator));
  out->part = evaluator.part;
  count_rest(config, be, evaluator.state.entries, evaluator.state.count, out);
out:
  qg_evaluator_destroy(&evaluator);
  return status;
}
