#include "app/plan.h"

#include "app/library_memory.h"

qg_status qg_plan_make(const qg_config *config, qg_backend *be, int stage, int stages, size_t runtime,
                       qg_plan *out)
{
  *out = (qg_plan){0};
  QG_TRY(qg_mem_create(NULL, &out->mem));
  qg_mem_note(out->mem, QG_OWNER_RUNTIME, runtime);
  qg_mem_note_device(out->mem, &be->share);
  qg_trainer_request request = {.config = config,
                                .be = be,
                                .mem = out->mem,
                                .stage = stage,
                                .stages = stages,
                                .device_pointers = config->parallel.transport == QG_TRANSPORT_DEVICE};
  QG_TRY(qg_trainer_create(&request, &out->trainer));
  qg_mem_note(out->mem, QG_OWNER_RUNTIME, qg_library_memory_estimate(config, be, out->trainer));
  return QG_OK;
}

void qg_plan_drop(qg_plan *plan)
{
  qg_trainer_destroy(plan->trainer);
  qg_mem_destroy(plan->mem);
  *plan = (qg_plan){0};
}
