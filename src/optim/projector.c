/* The projector P of a matrix: stored as INT4 groups or f32, used as a matrix of the compute type. */
#include "optim/internal.h"
#include "qgalore/base.h"

static qg_view shaped(const qg_optim_param *p, void *data, qg_dtype type)
{
  bool right = p->policy.side == QG_SIDE_RIGHT;
  return qg_view_make(data, type, right ? p->policy.rank : p->info.rows,
                      right ? p->info.cols : p->policy.rank);
}

/* Into scratch, where it stays: a fused update projects back by what has just projected the gradient. */
static qg_status unpack(qg_optim *optim, const qg_optim_param *p, qg_view to)
{
  qg_backend *be = optim->be;
  qg_optim_scratch *scratch = &optim->scratch;
  if (scratch->unpacked == p && scratch->unpacked_type == to.type) return QG_OK;
  scratch->unpacked = p;
  scratch->unpacked_type = to.type;
  if (p->policy.int4)
    return be->ops->dequantize_int4(be, p->packed, qg_optim_basis_elements(p), to.data, to.type);
  return be->ops->convert(be, to, shaped(p, p->basis, QG_F32));
}

void qg_optim_projector_forget(qg_optim *optim)
{
  optim->scratch.unpacked = NULL;
}

qg_status qg_optim_projector_read(qg_optim *optim, const qg_optim_param *p, qg_dtype type, qg_view *out)
{
  bool in_place = !p->policy.int4 && type == QG_F32;
  *out = shaped(p, in_place ? (void *)p->basis : optim->scratch.projector, type);
  return in_place ? QG_OK : unpack(optim, p, *out);
}

qg_status qg_optim_projector_fetch(qg_optim *optim, const qg_optim_param *p, float *host)
{
  qg_view stored;
  QG_TRY(qg_optim_projector_read(optim, p, QG_F32, &stored));
  return optim->be->ops->copy_out(optim->be, host, stored.data,
                                  qg_dtype_bytes(QG_F32, qg_optim_basis_elements(p)));
}

qg_status qg_optim_projector_keep(qg_optim *optim, const qg_optim_param *p, const float *device)
{
  qg_backend *be = optim->be;
  qg_optim_projector_forget(optim);
  if (p->policy.int4)
    return be->ops->quantize_int4(be, device, qg_optim_basis_elements(p), optim->options.include_zero,
                                  p->packed);
  return be->ops->convert(be, shaped(p, p->basis, QG_F32), shaped(p, (void *)device, QG_F32));
}

qg_status qg_optim_projector_store(qg_optim *optim, const qg_optim_param *p, const float *host)
{
  qg_backend *be = optim->be;
  int64_t elements = qg_optim_basis_elements(p);
  void *device = p->policy.int4 ? optim->scratch.projector : p->basis;
  qg_optim_projector_forget(optim);
  QG_TRY(be->ops->copy_in(be, device, host, qg_dtype_bytes(QG_F32, elements)));
  if (p->policy.int4) QG_TRY(qg_optim_projector_keep(optim, p, device));
  /* `host` is reused by the next refresh. */
  return be->ops->sync(be);
}

/* Right: R = G P^T. Left: R = P^T G (doc/method.md section 4). */
qg_status qg_optim_project(qg_optim *optim, const qg_optim_param *p, float beta)
{
  qg_view full = qg_view_make(p->full, QG_F32, p->info.rows, p->info.cols), basis;
  qg_optim_name(optim, p);
  QG_TRY(qg_optim_projector_read(optim, p, QG_F32, &basis));
  bool right = p->policy.side == QG_SIDE_RIGHT;
  qg_gemm_args gemm = {
      .a = right ? full : basis,
      .b = right ? basis : full,
      .c = qg_optim_grad_view(p),
      .trans_a = !right,
      .trans_b = right,
      .alpha = 1.0f,
      .beta = beta,
  };
  return optim->be->ops->gemm(optim->be, &gemm);
}
