/* The projector P of a matrix: stored as INT4 groups or f32, used as a matrix of the compute type. */
#ifndef QG_OPTIM_PROJECTOR_H
#define QG_OPTIM_PROJECTOR_H

#include "optim/sink.h"

typedef struct {
  qg_side side;
  int64_t rank;
  int64_t rows, cols;   /* of P: [rank, n] (right) or [m, rank] (left) */
  bool int4;            /* packed, else f32 */
  qg_int4_store packed; /* [rows * cols] */
  float *basis;         /* f32 [rows, cols] */
} qg_projector;

static inline int64_t qg_projector_elements(const qg_projector *p)
{
  return p->rows * p->cols;
}

/* For a gradient [m, n]; the rank is at most its short side. */
qg_projector qg_projector_make(const qg_optim_options *options, int64_t m, int64_t n);
/* Its stored arrays, for arrays.h. */
qg_sink_arrays qg_projector_arrays(qg_projector *p);

/* What lies unpacked in the scratch is nobody's from here on. */
void qg_projector_forget(qg_optim_context *o);
/* P in a type: in place, or unpacked into the scratch, where it stays: a fused update projects back by what
 * has just projected the gradient. */
qg_status qg_projector_read(qg_optim_context *o, const qg_projector *p, qg_dtype type, qg_view *out);
/* Stores a P that is on the device, f32. */
qg_status qg_projector_keep(qg_optim_context *o, const qg_projector *p, const float *device);
/* To the host and back, f32. Both wait. */
qg_status qg_projector_fetch(qg_optim_context *o, const qg_projector *p, float *host);
qg_status qg_projector_store(qg_optim_context *o, const qg_projector *p, const float *host);

#endif
