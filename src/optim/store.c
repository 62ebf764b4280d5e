/* The lasting memory of each parameter: weight, gradient accumulator, projector, moments. */
#include "optim/internal.h"
#include "qgalore/base.h"

static qg_status take_floats(qg_mem *mem, qg_owner owner, const char *name, int64_t count, float **out)
{
  void *memory;
  QG_TRY(qg_mem_alloc(mem, owner, name, qg_dtype_bytes(QG_F32, count), &memory));
  *out = memory;
  return QG_OK;
}

static qg_status take_bytes(qg_mem *mem, qg_owner owner, const char *name, int64_t count, uint8_t **out)
{
  void *memory;
  QG_TRY(qg_mem_alloc(mem, owner, name, (size_t)count, &memory));
  *out = memory;
  return QG_OK;
}

static qg_status take_codes(qg_mem *mem, const char *name, int64_t elements, qg_int8_store *out)
{
  QG_TRY(take_bytes(mem, QG_OWNER_WEIGHTS, name, elements, &out->codes));
  QG_TRY(take_floats(mem, QG_OWNER_WEIGHTS, name, qg_group_count(elements), &out->scale));
  return take_bytes(mem, QG_OWNER_WEIGHTS, name, qg_group_count(elements), &out->zero);
}

static qg_status take_weight(qg_optim *optim, qg_optim_param *p)
{
  int64_t elements = qg_optim_elements(p);
  if (p->policy.int8) return take_codes(optim->mem, p->info.name, elements, &p->codes);
  QG_TRY(qg_mem_alloc(optim->mem, QG_OWNER_WEIGHTS, p->info.name, qg_dtype_bytes(p->policy.type, elements),
                      &p->values));
  p->compute_values = p->values;
  if (!qg_optim_is_vector(p) || p->policy.type == optim->be->compute) return QG_OK;
  return qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, p->info.name,
                      qg_dtype_bytes(optim->be->compute, elements), &p->compute_values);
}

/* Fused matrices share the memory of their gradients (arena.c). */
static qg_status take_gradient(qg_optim *optim, qg_optim_param *p)
{
  qg_mem *mem = optim->mem;
  const char *name = p->info.name;
  size_t bytes = qg_dtype_bytes(p->policy.grad_type, qg_optim_grad_elements(p));
  if (!p->policy.fused) QG_TRY(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, name, bytes, &p->grad));
  if (qg_optim_is_tied(optim, p))
    QG_TRY(take_floats(mem, QG_OWNER_GRADIENTS, name, qg_optim_elements(p), &p->head_grad));
  if (qg_optim_gathers(p)) QG_TRY(take_floats(mem, QG_OWNER_GRADIENTS, name, qg_optim_elements(p), &p->full));
  return QG_OK;
}

static qg_status take_projector(qg_optim *optim, qg_optim_param *p)
{
  int64_t elements = qg_optim_basis_elements(p), groups = qg_group_count(elements);
  const char *name = p->info.name;
  if (!p->policy.projected) return QG_OK;
  if (!p->policy.int4) return take_floats(optim->mem, QG_OWNER_PROJECTORS, name, elements, &p->basis);
  QG_TRY(take_bytes(optim->mem, QG_OWNER_PROJECTORS, name, (elements + 1) / 2, &p->packed.codes));
  QG_TRY(take_floats(optim->mem, QG_OWNER_PROJECTORS, name, groups, &p->packed.scale));
  return take_bytes(optim->mem, QG_OWNER_PROJECTORS, name, groups, &p->packed.zero);
}

static qg_status take_moments(qg_optim *optim, qg_optim_param *p)
{
  int64_t elements = qg_optim_grad_elements(p), blocks = qg_optim_moment_blocks(optim, p);
  qg_optim_moments *moments = &p->moments;
  const char *name = p->info.name;
  if (!p->policy.moments8) {
    QG_TRY(take_floats(optim->mem, QG_OWNER_MOMENTS, name, elements, &moments->m));
    return take_floats(optim->mem, QG_OWNER_MOMENTS, name, elements, &moments->v);
  }
  QG_TRY(take_bytes(optim->mem, QG_OWNER_MOMENTS, name, elements, &moments->m_codes));
  QG_TRY(take_bytes(optim->mem, QG_OWNER_MOMENTS, name, elements, &moments->v_codes));
  QG_TRY(take_floats(optim->mem, QG_OWNER_MOMENTS, name, blocks, &moments->m_absmax));
  return take_floats(optim->mem, QG_OWNER_MOMENTS, name, blocks, &moments->v_absmax);
}

qg_status qg_optim_take_store(qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (!p->held) continue;
    QG_TRY(take_weight(optim, p));
    QG_TRY(take_gradient(optim, p));
    QG_TRY(take_projector(optim, p));
    QG_TRY(take_moments(optim, p));
  }
  return QG_OK;
}
