#include "app/dry_run.h"

#include "app/library_memory.h"
#include "qgalore/ckpt.h"
#include "train/evaluator.h"

qg_trainer_request qg_dry_run_request(const qg_config *config, qg_backend *be, int stage, int stages)
{
  return (qg_trainer_request){.config = config,
                              .be = be,
                              .stage = stage,
                              .stages = stages,
                              .device_pointers = config->parallel.transport == QG_TRANSPORT_DEVICE};
}

/* The same request against a ledger that only counts. */
static qg_status begin(const qg_trainer_request *request, size_t runtime, qg_trainer_request *dry,
                       qg_dry_run *out)
{
  *out = (qg_dry_run){0};
  QG_TRY(qg_mem_create(NULL, &out->mem));
  qg_mem_note(out->mem, QG_OWNER_RUNTIME, runtime);
  qg_mem_note_device(out->mem, &request->be->share);
  *dry = *request;
  dry->par = NULL;
  dry->mem = out->mem;
  return QG_OK;
}

static void count_rest(const qg_trainer_request *request, const qg_state_entry *entries, int count,
                       qg_dry_run *out)
{
  out->checkpoint = qg_ckpt_bytes(entries, count);
  qg_mem_note(out->mem, QG_OWNER_RUNTIME,
              qg_library_memory_estimate(request->config, request->be, &out->part, entries, count));
}

qg_status qg_dry_run_training(const qg_trainer_request *request, size_t runtime, qg_dry_run *out)
{
  qg_trainer_request dry;
  qg_trainer *trainer = NULL;
  const qg_state_entry *entries;
  qg_status status;
  int count;
  QG_TRY(begin(request, runtime, &dry, out));
  QG_TRY_OUT(qg_trainer_create(&dry, &trainer));
  QG_TRY_OUT(qg_optim_state(qg_trainer_optim(trainer), &entries, &count));
  out->part = *qg_trainer_partition(trainer);
  count_rest(&dry, entries, count, out);
out:
  qg_trainer_destroy(trainer);
  return status;
}

qg_status qg_dry_run_evaluation(const qg_trainer_request *request, size_t runtime, qg_dry_run *out)
{
  qg_trainer_request dry;
  qg_evaluator evaluator = {0};
  qg_status status;
  QG_TRY(begin(request, runtime, &dry, out));
  QG_TRY_OUT(qg_evaluator_create(&dry, &evaluator));
  out->part = evaluator.part;
  count_rest(&dry, evaluator.state.entries, evaluator.state.count, out);
out:
  qg_evaluator_destroy(&evaluator);
  return status;
}

qg_status qg_dry_run_reserve(const qg_trainer_request *request, qg_dry_run_job job)
{
  qg_dry_run dry;
  if (request->be->ops->unified_memory) return QG_OK;
  qg_status status = job(request, 0, &dry);
  if (status == QG_OK) status = qg_mem_reserve(request->mem, dry.mem);
  qg_mem_destroy(dry.mem);
  return status;
}
