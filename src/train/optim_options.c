#include "train/optim_options.h"

#include <stdlib.h>

#include "qgalore/base.h"

/* Matrices that all ranks solve together are its distributed_min's; the others are as with auto. */
static qg_subspace_method local_method(const qg_config *config)
{
  return config->subspace.method == QG_SUBSPACE_SCALAPACK ? QG_SUBSPACE_AUTO : config->subspace.method;
}

qg_schedule qg_schedule_from_config(const qg_config *config)
{
  return (qg_schedule){.kind = config->optimizer.schedule,
                       .lr = config->optimizer.lr,
                       .min_ratio = config->optimizer.min_lr_ratio,
                       .decay_share = config->optimizer.decay_share,
                       .warmup = config->optimizer.warmup_steps,
                       .steps = config->train.steps,
                       .warmup_from_zero = config->optimizer.warmup_from_zero};
}

qg_optim_options qg_optim_options_from_config(const qg_config *config, int threads)
{
  return (qg_optim_options){
      .method = config->optimizer.method,
      .beta1 = config->optimizer.beta1,
      .beta2 = config->optimizer.beta2,
      .eps = config->optimizer.eps,
      .weight_decay = config->optimizer.weight_decay,
      .moment_bits = qg_config_moment_bits(config),
      .clamp_second_moment = config->optimizer.clamp_second_moment,
      .moment_block = config->optimizer.moment_block,
      .fused = qg_config_is_fused(config),
      .accumulators = config->train.accumulators,
      .dense_type = config->optimizer.dense_type,
      .rank = config->qgalore.rank,
      .scale = config->qgalore.scale,
      .weight_bits = qg_config_weight_bits(config),
      .projector_bits = qg_config_projector_bits(config),
      .stochastic = config->qgalore.stochastic_rounding,
      .include_zero = config->qgalore.include_zero,
      .bf16_arithmetic = config->qgalore.bf16_arithmetic,
      .full_gradient = config->qgalore.full_gradient,
      .project_head = config->qgalore.project_head,
      .rotate_moments = config->qgalore.rotate_moments,
      .sample = config->subspace.sample,
      .validate_subspaces = config->subspace.validate,
      .update_gap = config->qgalore.update_gap,
      .lazy = config->qgalore.lazy,
      .similarity = config->qgalore.similarity,
      .similarity_threshold = config->qgalore.similarity_threshold,
      .similarity_window = (int)config->qgalore.similarity_window,
      .max_update_gap = config->qgalore.max_update_gap,
      .shrink_threshold = config->qgalore.shrink_threshold,
      .stagger = config->subspace.stagger,
      .distributed_min =
          config->subspace.method == QG_SUBSPACE_SCALAPACK ? config->subspace.distributed_min : 0,
      .subspace = {local_method(config), config->subspace.min_energy, threads},
      .seed = (uint64_t)config->train.seed,
  };
}

qg_status qg_weights_from_config(const qg_config *config, qg_mem *mem, qg_backend *be,
                                 const qg_param_list *params, qg_weights **out)
{
  qg_optim_options method = qg_optim_options_from_config(config, be->threads);
  qg_weight_options options = {.stochastic = method.stochastic,
                               .include_zero = method.include_zero,
                               .bf16_arithmetic = method.bf16_arithmetic,
                               .seed = method.seed};
  qg_weight_format *formats = NULL;
  *out = NULL;
  QG_TRY(qg_calloc((size_t)params->count, sizeof *formats, "formats of weights", (void **)&formats));
  for (int i = 0; i < params->count; i++) formats[i] = qg_optim_weight_format(&method, &params->params[i]);
  qg_status status = qg_weights_create(mem, be, params, formats, &options, out);
  free(formats);
  return status;
}
