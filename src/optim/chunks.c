/* Cutting a parameter into parts that can be updated on their own. */
#include "optim/internal.h"
#include "qgalore/base.h"

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Groups and moment blocks may straddle rows: `unit` rows are the fewest that end with one. */
int64_t qg_optim_chunk_rows(const qg_optim *optim, int64_t rows, int64_t cols, int64_t group)
{
  int64_t unit = group / greatest_common_divisor(cols, group);
  int64_t units = qg_max_i64(1, optim->be->update_elements / (cols * unit));
  return qg_min_i64(rows, units * unit);
}

int64_t qg_optim_chunk_elements(const qg_optim *optim)
{
  int64_t block = optim->options.moment_block;
  return qg_ceil_div(optim->be->update_elements, block) * block;
}

qg_int8_store qg_optim_codes_from(qg_int8_store store, int64_t first)
{
  qg_int8_store part = {store.codes + first, store.scale + first / QG_GROUP, store.zero + first / QG_GROUP};
  return part;
}

qg_optim_moments qg_optim_moments_from(const qg_optim_options *options, const qg_optim_param *p,
                                       int64_t first)
{
  const qg_optim_moments *all = &p->moments;
  if (!p->policy.moments8) return (qg_optim_moments){.m = all->m + first, .v = all->v + first};
  int64_t block = first / options->moment_block;
  return (qg_optim_moments){.m_codes = all->m_codes + first,
                            .v_codes = all->v_codes + first,
                            .m_absmax = all->m_absmax + block,
                            .v_absmax = all->v_absmax + block};
}
