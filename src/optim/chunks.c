#include "optim/chunks.h"

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
int64_t qg_chunk_rows(const qg_optim_context *o, int64_t rows, int64_t cols, int64_t group)
{
  int64_t unit = group / greatest_common_divisor(cols, group);
  int64_t units = qg_max_i64(1, o->be->update_elements / (cols * unit));
  return qg_min_i64(rows, units * unit);
}

int64_t qg_chunk_elements(const qg_optim_context *o)
{
  int64_t block = o->options.moment_block;
  return qg_ceil_div(o->be->update_elements, block) * block;
}
