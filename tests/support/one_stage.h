/* One stage of a model in fp32 on one thread of the CPU, with the dense port that a test listens at. */
#ifndef QG_TESTS_ONE_STAGE_H
#define QG_TESTS_ONE_STAGE_H

#include "assert_ok.h"
#include "dense_port.h"
#include "qgalore/base.h"
#include "qgalore/model.h"

/* A model of this many layers, just large enough for two heads. */
#define ONE_STAGE_SHAPE(layers)                                                                            \
  {                                                                                                        \
    .hidden_size = 16, .intermediate_size = 24, .num_layers = (layers), .num_heads = 2, .num_kv_heads = 2, \
    .vocab_size = 10, .rope_theta = 10000, .rms_norm_eps = 1e-6                                            \
  }

typedef struct {
  qg_backend *be;
  qg_mem *mem;
  qg_stage *stage;
  dense_port *dense;
} one_stage;

static inline void one_stage_open(one_stage *s, const qg_model_shape *shape, const qg_partition *part,
                                  const qg_stage_options *options, dense_port *dense)
{
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = 1};
  qg_workload workload = qg_stage_workload(shape, options);
  *s = (one_stage){.dense = dense};
  assert_ok(qg_backend_open(&request, &s->be));
  assert_ok(qg_mem_create(s->be, &s->mem));
  assert_ok(qg_backend_reserve(s->mem, s->be, &workload));
  assert_ok(dense_port_open(s->mem, s->be, shape, true, dense));
  assert_ok(qg_stage_create(s->mem, s->be, shape, part, options, &s->stage));
  assert_ok(qg_stage_init(s->stage));
}

static inline void one_stage_close(one_stage *s)
{
  qg_stage_destroy(s->stage);
  dense_port_close(s->dense);
  qg_mem_destroy(s->mem);
  qg_backend_close(s->be);
}

#endif
