/* First and second moment of what Adam sees, in one of two forms, and the step that uses them. */
#ifndef QG_OPTIM_MOMENTS_H
#define QG_OPTIM_MOMENTS_H

#include "optim/sink.h"

/* The other form's pointers are NULL. */
typedef struct {
  bool eight_bit;             /* else f32 */
  int64_t count, block;       /* elements, and those of an absmax */
  float *m, *v;               /* f32 [count] */
  uint8_t *m_codes, *v_codes; /* [count] */
  float *m_absmax, *v_absmax; /* f32 [ceil(count / block)] */
} qg_moments;

/* 8 bits where options ask for them and the count is large enough for them to save anything. */
qg_moments qg_moments_make(const qg_optim_options *options, int64_t count);
/* Its stored arrays, for arrays.h. */
qg_sink_arrays qg_moments_arrays(qg_moments *moments);
/* The moments from element `first` on, a multiple of the block. */
qg_moments qg_moments_from(const qg_moments *moments, int64_t first);

/* Adam over the elements [first, first + count) of the sink's gradient; first is a multiple of the block. */
qg_status qg_moments_adam(const qg_grad_sink *sink, const qg_moments *moments, const qg_step_rates *rates,
                          int64_t first, int64_t count, void *delta, qg_dtype delta_type);

/* A parameter's weight follows o->scratch.update, the elements [first, first + count). */
qg_status qg_sink_store_update(const qg_grad_sink *sink, const qg_step_rates *rates, int64_t first,
                               int64_t count);
/* The whole update of a gradient in full rank, piece by piece. */
qg_status qg_sink_apply_dense(const qg_grad_sink *sink, const qg_moments *moments,
                              const qg_step_rates *rates);

#endif
