#include "train/evaluator.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "train/optim_options.h"

/* So many micro-batches follow each other through the pipeline before anyone looks up. */
enum { MICRO_BATCHES_A_STAGE = 4 };

static qg_status create_weights(qg_evaluator *e, const qg_trainer_request *request)
{
  QG_TRY(qg_model_params(&e->config->model, &e->part, &e->params));
  QG_TRY(qg_weights_from_config(e->config, request->mem, e->be, &e->params, &e->weights));
  QG_TRY(qg_weights_take_scratch(e->weights, request->mem));
  for (int i = 0; i < e->params.count; i++) QG_TRY(qg_weights_list_state(e->weights, i, &e->state));
  return qg_mem_is_dry(request->mem) ? QG_OK : qg_weights_start(e->weights);
}

static qg_status create_pipeline(qg_evaluator *e, const qg_trainer_request *request)
{
  const qg_config *c = e->config;
  qg_pipeline_request pipeline = {
      .mem = request->mem,
      .be = e->be,
      .par = request->par,
      .shape = &c->model,
      .part = e->part,
      .index = request->stage,
      .stages = request->stages,
      .device_pointers = request->device_pointers,
      .micro_batches = MICRO_BATCHES_A_STAGE * request->stages,
      .options = {.micro_batch = c->evaluate.micro_batch > 0 ? c->evaluate.micro_batch : c->train.micro_batch,
                  .sequence_length = c->train.sequence_length,
                  .logit_chunk_tokens = c->train.logit_chunk_tokens,
                  .graphs = c->backend.graphs},
      .timers = &e->timers};
  return qg_pipeline_create(&pipeline, qg_weights_reader(e->weights), NULL, &e->pipeline);
}

qg_status qg_evaluator_create(const qg_trainer_request *request, qg_evaluator *e)
{
  *e = (qg_evaluator){.config = request->config, .be = request->be};
  QG_TRY(qg_pipeline_part(e->config, request->stage, request->stages, &e->part));
  QG_TRY(create_weights(e, request));
  QG_TRY(create_pipeline(e, request));
  return qg_mem_is_dry(request->mem) ? QG_OK : qg_pipeline_init(&e->pipeline);
}

void qg_evaluator_destroy(qg_evaluator *e)
{
  qg_pipeline_destroy(&e->pipeline);
  qg_weights_destroy(e->weights);
  free(e->state.entries);
  free(e->params.params);
  *e = (qg_evaluator){0};
}

qg_status qg_evaluator_load(qg_evaluator *e, const char *path, qg_ckpt_meta *meta)
{
  qg_par *par = e->pipeline.use.par;
  qg_ckpt_file *file = NULL;
  qg_status status;
  QG_TRY_OUT(qg_ckpt_open(par, path, &file));
  *meta = *qg_ckpt_get_meta(file);
  QG_TRY_OUT(qg_par_agree(par, qg_config_check_weights(e->config, meta->resolved_input)));
  QG_TRY_OUT(qg_ckpt_load(file, e->be, e->state.entries, e->state.count));
  QG_TRY_OUT(qg_par_agree(par, qg_weights_changed(e->weights)));
out:
  qg_ckpt_close(file);
  meta->arrangement = meta->history = meta->resolved_input = meta->data = NULL; /* texts were the file's */
  return status;
}
