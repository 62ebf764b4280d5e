/* LLaMA as a model variant: entries of its table that are in files of their own. */
#ifndef QG_MODEL_LLAMA_LLAMA_H
#define QG_MODEL_LLAMA_LLAMA_H

#include "model/ops.h"

extern const qg_model_ops qg_llama_ops;

/* params.c */
int qg_llama_param_count(const qg_model_shape *shape);
qg_param qg_llama_describe(const qg_model_shape *shape, int index);
bool qg_llama_holds(const qg_partition *part, const qg_param *param);

/* loss.c */
qg_status qg_llama_loss(qg_stage *base, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                        int slot, const int32_t *targets, float grad_scale, double *loss);

#endif
