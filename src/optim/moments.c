#include "optim/moments.h"

#include "optim/chunks.h"
#include "qgalore/base.h"

enum { MIN_8BIT_ELEMENTS = 4096 }; /* below, 8-bit moments save nothing and cost accuracy */

qg_moments qg_moments_make(const qg_optim_options *options, int64_t count)
{
  return (qg_moments){.eight_bit = options->moment_bits == 8 && count >= MIN_8BIT_ELEMENTS,
                      .count = count,
                      .block = options->moment_block};
}

qg_sink_arrays qg_moments_arrays(qg_moments *moments)
{
  int64_t count = moments->count, blocks = qg_ceil_div(count, moments->block);
  if (!moments->eight_bit)
    return (qg_sink_arrays){
        {{"m", QG_F32, count, (void **)&moments->m}, {"v", QG_F32, count, (void **)&moments->v}}, 2};
  return (qg_sink_arrays){{{"m_codes", QG_U8, count, (void **)&moments->m_codes},
                           {"v_codes", QG_U8, count, (void **)&moments->v_codes},
                           {"m_absmax", QG_F32, blocks, (void **)&moments->m_absmax},
                           {"v_absmax", QG_F32, blocks, (void **)&moments->v_absmax}},
                          4};
}

qg_moments qg_moments_from(const qg_moments *moments, int64_t first)
{
  qg_moments part = *moments;
  int64_t block = first / moments->block;
  part.count -= first;
  if (!moments->eight_bit) {
    part.m += first;
    part.v += first;
    return part;
  }
  part.m_codes += first;
  part.v_codes += first;
  part.m_absmax += block;
  part.v_absmax += block;
  return part;
}

qg_status qg_moments_adam(const qg_grad_sink *sink, const qg_moments *moments, const qg_step_rates *rates,
                          int64_t first, int64_t count, void *delta, qg_dtype delta_type)
{
  const qg_optim_options *options = &sink->o->options;
  qg_view gradient = sink->ops->gradient(sink);
  qg_moments part = qg_moments_from(moments, first);
  qg_adam_args args = {
      .grad = (const char *)gradient.data + qg_dtype_bytes(gradient.type, first),
      .grad_type = gradient.type,
      .count = count,
      .grad_scale = rates->grad_scale,
      .lr = rates->lr,
      .beta1 = (float)options->beta1,
      .beta2 = (float)options->beta2,
      .eps = (float)options->eps,
      .t = sink->o->step + 1,
      .bounded = options->clamp_second_moment,
      .m = part.m,
      .v = part.v,
      .m_codes = part.m_codes,
      .v_codes = part.v_codes,
      .m_absmax = part.m_absmax,
      .v_absmax = part.v_absmax,
      .block = moments->block,
      .delta = delta,
      .delta_type = delta_type,
      .guard = qg_sink_guard(sink),
  };
  return sink->o->be->ops->adam(sink->o->be, &args);
}

qg_status qg_sink_store_update(const qg_grad_sink *sink, const qg_step_rates *rates, int64_t first,
                               int64_t count)
{
  qg_weight_update update = {.param = sink->index,
                             .first = first,
                             .count = count,
                             .update = sink->o->scratch.update.device,
                             .decay = sink->param->decays ? (float)rates->decay : 0.0f,
                             .step = sink->o->step,
                             .guard = qg_sink_guard(sink)};
  return qg_weights_update(sink->o->weights, &update);
}

qg_status qg_sink_apply_dense(const qg_grad_sink *sink, const qg_moments *moments, const qg_step_rates *rates)
{
  int64_t total = qg_param_elements(sink->param), step = qg_chunk_elements(sink->o);
  for (int64_t first = 0; first < total; first += step) {
    int64_t count = qg_min_i64(step, total - first);
    QG_TRY(qg_moments_adam(sink, moments, rates, first, count, sink->o->scratch.update.device, QG_F32));
    QG_TRY(qg_sink_store_update(sink, rates, first, count));
  }
  return QG_OK;
}
