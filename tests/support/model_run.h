/* A tiny LLaMA at work in one process: micro-batches through one or more stages, loss and gradients out. */
#ifndef QG_TESTS_MODEL_RUN_H
#define QG_TESTS_MODEL_RUN_H

#include <stdlib.h>

#include "dense_port.h"
#include "qgalore/base.h"
#include "qgalore/model.h"

enum { RUN_MAX_STAGES = 8 };

/* What to run. Micro-batch i takes ids and targets [i * tokens, (i + 1) * tokens). */
typedef struct {
  qg_model_shape shape;
  qg_stage_options options;
  const char *precision; /* "fp32" or "bf16" */
  int stages;
  int micro_batches;
  bool all_in_flight;           /* every forward before the first backward; needs a slot per micro-batch */
  float grad_scale;             /* 0: loss only */
  const int32_t *ids, *targets; /* host */
  float *const *params;         /* host, by global id */
} model_run;

typedef struct {
  double loss;
  int count;
  int64_t *elements; /* [count] */
  float **grads;     /* [count][elements], host */
  int64_t grad_calls;
  bool steady; /* no memory was taken after the first micro-batch began */
} model_result;

typedef struct {
  const model_run *run;
  qg_backend *be;
  qg_mem *mem;
  dense_port dense;
  qg_param_port port;
  qg_stage *stages[RUN_MAX_STAGES];
  int64_t tokens;
  int32_t *ids, *targets; /* device, all micro-batches */
  double *loss;           /* device */
  qg_view handover;       /* a copy of what one stage gives the next: outputs die with the next call */
} rig;

static inline qg_status load_tokens(rig *r, const int32_t *host, int32_t **out)
{
  size_t bytes = (size_t)(r->tokens * r->run->micro_batches) * sizeof(int32_t);
  QG_TRY(qg_mem_alloc(r->mem, QG_OWNER_DATA, "tokens", bytes, (void **)out));
  QG_TRY(r->be->ops->copy_in(r->be, *out, host, bytes));
  return QG_OK;
}

static inline qg_status open_port(rig *r)
{
  QG_TRY(dense_port_open(r->mem, r->be, &r->run->shape, true, &r->dense));
  r->port = dense_port_calls(&r->dense);
  for (int id = 0; id < r->dense.count; id++) QG_TRY(dense_port_set(&r->dense, id, r->run->params[id]));
  return QG_OK;
}

static inline qg_status open_stages(rig *r)
{
  const model_run *run = r->run;
  qg_partition parts[RUN_MAX_STAGES];
  QG_TRY(qg_model_partition(&run->shape, run->options.sequence_length, run->stages, NULL, parts));
  for (int s = 0; s < run->stages; s++) {
    QG_TRY(qg_stage_create(r->mem, r->be, &run->shape, &parts[s], &run->options, &r->stages[s]));
    QG_TRY(qg_stage_init(r->stages[s]));
  }
  return QG_OK;
}

static inline qg_status rig_open(rig *r, const model_run *run)
{
  qg_backend_request request = {.name = "cpu", .precision = run->precision, .threads = 2};
  qg_workload workload = qg_stage_workload(&run->shape, &run->options);
  *r = (rig){.run = run, .tokens = run->options.micro_batch * run->options.sequence_length};
  QG_TRY(qg_backend_open(&request, &r->be));
  QG_TRY(qg_mem_create(r->be, &r->mem));
  QG_TRY(qg_backend_reserve(r->mem, r->be, &workload));
  QG_TRY(open_port(r));
  QG_TRY(open_stages(r));
  QG_TRY(load_tokens(r, run->ids, &r->ids));
  QG_TRY(load_tokens(r, run->targets, &r->targets));
  QG_TRY(qg_mem_alloc(r->mem, QG_OWNER_DATA, "loss", sizeof(double), (void **)&r->loss));
  QG_TRY(qg_mem_view(r->mem, QG_OWNER_TRANSFER, "handover", r->be->compute, r->tokens, run->shape.hidden_size,
                     &r->handover));
  return QG_OK;
}

static inline void rig_close(rig *r)
{
  for (int s = 0; s < r->run->stages; s++) qg_stage_destroy(r->stages[s]);
  dense_port_close(&r->dense);
  qg_mem_destroy(r->mem);
  qg_backend_close(r->be);
}

static inline qg_status forward(rig *r, int batch, int slot)
{
  const model_run *run = r->run;
  qg_backend *be = r->be;
  for (int s = 0; s < run->stages; s++) {
    qg_view out;
    QG_TRY(qg_stage_forward(r->stages[s], &r->port, slot, r->ids + batch * r->tokens, &out));
    if (s + 1 < run->stages) QG_TRY(be->ops->convert(be, qg_stage_input(r->stages[s + 1], slot), out));
  }
  return qg_stage_loss(r->stages[run->stages - 1], &r->port, slot, r->targets + batch * r->tokens,
                       run->grad_scale, r->loss);
}

static inline qg_status backward(rig *r, int batch, int slot)
{
  qg_backend *be = r->be;
  if (r->run->grad_scale == 0) return QG_OK;
  for (int s = r->run->stages - 1; s >= 0; s--) {
    qg_view d_in;
    QG_TRY(qg_stage_backward(r->stages[s], &r->port, slot, r->ids + batch * r->tokens, r->handover, &d_in));
    if (s > 0) QG_TRY(be->ops->convert(be, r->handover, d_in));
  }
  return QG_OK;
}

static inline qg_status run_micro_batches(rig *r)
{
  int batches = r->run->micro_batches, slots = r->run->options.slots;
  if (r->run->all_in_flight) {
    for (int i = 0; i < batches; i++) QG_TRY(forward(r, i, i));
    for (int i = 0; i < batches; i++) QG_TRY(backward(r, i, i));
    return QG_OK;
  }
  for (int i = 0; i < batches; i++) {
    QG_TRY(forward(r, i, i % slots));
    QG_TRY(backward(r, i, i % slots));
  }
  return QG_OK;
}

static inline qg_status collect(rig *r, model_result *out)
{
  out->count = r->dense.count;
  out->grad_calls = r->dense.matrix_grads + r->dense.row_grads + r->dense.vector_grads;
  QG_TRY(qg_calloc((size_t)out->count, sizeof *out->elements, "sizes", (void **)&out->elements));
  QG_TRY(qg_calloc((size_t)out->count, sizeof *out->grads, "gradients", (void **)&out->grads));
  for (int id = 0; id < out->count; id++) {
    out->elements[id] = r->dense.grads[id].rows * r->dense.grads[id].cols;
    QG_TRY(qg_calloc((size_t)out->elements[id], sizeof(float), "gradient", (void **)&out->grads[id]));
    QG_TRY(dense_port_get_grad(&r->dense, id, out->grads[id]));
  }
  return r->be->ops->copy_out(r->be, &out->loss, r->loss, sizeof out->loss);
}

static inline qg_status model_run_do(const model_run *run, model_result *out)
{
  rig r;
  qg_status status = QG_OK;
  *out = (model_result){0};
  QG_TRY_OUT(rig_open(&r, run));
  int64_t allocations = qg_mem_allocations(r.mem);
  QG_TRY_OUT(run_micro_batches(&r));
  out->steady = qg_mem_allocations(r.mem) == allocations;
  QG_TRY_OUT(collect(&r, out));
out:
  rig_close(&r);
  return status;
}

static inline void model_result_free(model_result *result)
{
  for (int id = 0; result->grads && id < result->count; id++) free(result->grads[id]);
  free(result->grads);
  free(result->elements);
  *result = (model_result){0};
}

#endif
