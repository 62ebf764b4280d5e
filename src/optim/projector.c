#include "optim/projector.h"

#include "qgalore/base.h"

qg_projector qg_projector_make(const qg_optim_options *options, int64_t m, int64_t n)
{
  qg_side side = qg_side_of(m, n);
  /* Grouped-query key and value matrices can be narrower than the rank of the others. */
  int64_t rank = qg_min_i64(options->rank, qg_min_i64(m, n));
  bool right = side == QG_SIDE_RIGHT;
  return (qg_projector){.side = side,
                        .rank = rank,
                        .rows = right ? rank : m,
                        .cols = right ? n : rank,
                        .int4 = options->projector_bits == 4};
}

qg_sink_arrays qg_projector_arrays(qg_projector *p)
{
  int64_t elements = qg_projector_elements(p), groups = qg_group_count(elements);
  if (!p->int4) return (qg_sink_arrays){{{"values", QG_F32, elements, (void **)&p->basis}}, 1};
  return (qg_sink_arrays){{{"codes", QG_U4, elements, (void **)&p->packed.codes},
                           {"scale", QG_F32, groups, (void **)&p->packed.scale},
                           {"zero", QG_U8, groups, (void **)&p->packed.zero}},
                          3};
}

void qg_projector_forget(qg_optim_context *o)
{
  o->scratch.unpacked = NULL;
}

static qg_view shaped(const qg_projector *p, const void *data, qg_dtype type)
{
  return qg_view_make((void *)data, type, p->rows, p->cols);
}

static qg_status unpack(qg_optim_context *o, const qg_projector *p, qg_view to)
{
  qg_backend *be = o->be;
  qg_optim_scratch *scratch = &o->scratch;
  if (scratch->unpacked == p && scratch->unpacked_type == to.type) return QG_OK;
  scratch->unpacked = p;
  scratch->unpacked_type = to.type;
  if (p->int4) return be->ops->dequantize_int4(be, p->packed, qg_projector_elements(p), to.data, to.type);
  return be->ops->convert(be, to, shaped(p, p->basis, QG_F32));
}

qg_status qg_projector_read(qg_optim_context *o, const qg_projector *p, qg_dtype type, qg_view *out)
{
  bool in_place = !p->int4 && type == QG_F32;
  *out = shaped(p, in_place ? (void *)p->basis : o->scratch.projector, type);
  return in_place ? QG_OK : unpack(o, p, *out);
}

qg_status qg_projector_fetch(qg_optim_context *o, const qg_projector *p, float *host)
{
  qg_view stored;
  QG_TRY(qg_projector_read(o, p, QG_F32, &stored));
  return o->be->ops->copy_out(o->be, host, stored.data, qg_dtype_bytes(QG_F32, qg_projector_elements(p)));
}

qg_status qg_projector_keep(qg_optim_context *o, const qg_projector *p, const float *device)
{
  qg_backend *be = o->be;
  qg_projector_forget(o);
  if (p->int4)
    return be->ops->quantize_int4(be, device, qg_projector_elements(p), o->options.include_zero, p->packed);
  return be->ops->convert(be, shaped(p, p->basis, QG_F32), shaped(p, device, QG_F32));
}

qg_status qg_projector_store(qg_optim_context *o, const qg_projector *p, const float *host)
{
  qg_backend *be = o->be;
  void *device = p->int4 ? o->scratch.projector : p->basis;
  qg_projector_forget(o);
  QG_TRY(be->ops->copy_in(be, device, host, qg_dtype_bytes(QG_F32, qg_projector_elements(p))));
  if (p->int4) QG_TRY(qg_projector_keep(o, p, device));
  /* `host` is reused by the next refresh. */
  return be->ops->sync(be);
}
