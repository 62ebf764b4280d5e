/* What a model variant provides. The rest of the program calls qgalore/model.h, which finds the variant of a
 * shape (model.c). */
#ifndef QG_MODEL_OPS_H
#define QG_MODEL_OPS_H

#include "qgalore/model.h"

/* Calls are those of qgalore/model.h with the same names, for shapes and stages of this variant. */
typedef struct {
  /* Parameters, in an order that pipelines follow: embedding, layers, head. */
  int (*param_count)(const qg_model_shape *shape);
  qg_param (*param)(const qg_model_shape *shape, int index);
  bool (*holds)(const qg_partition *part, const qg_param *param);

  /* Pieces of the partition, in FLOPs a token, forward and backward; the embedding costs nothing. */
  double (*layer_flops)(const qg_model_shape *shape, int64_t sequence_length);
  double (*head_flops)(const qg_model_shape *shape);

  qg_workload (*workload)(const qg_model_shape *shape, const qg_stage_options *options);
  qg_status (*create)(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                      const qg_stage_options *options, qg_stage **out);
  void (*destroy)(qg_stage *stage);
  qg_status (*init)(qg_stage *stage);

  qg_view (*input)(const qg_stage *stage, int slot);
  qg_view (*output_gradient)(const qg_stage *stage, int slot);
  void (*set_skip)(qg_stage *stage, qg_skip_sublayer *skip, void *context);
  /* keep: a backward will follow, and nothing is left out. */
  qg_status (*forward)(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids,
                       bool keep, qg_view *out);
  qg_status (*loss)(qg_stage *stage, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                    int slot, const int32_t *targets, float grad_scale, double *loss);
  qg_status (*expect_backward)(qg_stage *stage, int slot);
  qg_status (*backward)(qg_stage *stage, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                        int slot, const int32_t *ids, qg_view d_out, qg_view *d_in);
} qg_model_ops;

/* What every variant's stage begins with. */
struct qg_stage {
  const qg_model_ops *ops;
};

/* The variant of a shape. */
const qg_model_ops *qg_model_ops_of(const qg_model_shape *shape);

#endif
