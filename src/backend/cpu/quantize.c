#include "backend/cpu/quantize.h"

#include "backend/cpu/isa/quant_kernels.h"
#include "qgalore/base.h"

/* Fewer groups than this are done sooner than a second thread wakes up. */
enum { GROUPS_WORTH_THREADS = 32 };

static int threads_for(const qg_backend *be, int64_t groups)
{
  return groups >= GROUPS_WORTH_THREADS ? be->threads : 1;
}

static int elements_of_group(int64_t count, int64_t group)
{
  return (int)qg_min_i64(QG_GROUP, count - group * QG_GROUP);
}

static qg_int8_store int8_at(qg_int8_store store, int64_t group)
{
  qg_int8_store at = {store.codes + group * QG_GROUP, store.scale + group, store.zero + group};
  return at;
}

static qg_int4_store int4_at(qg_int4_store store, int64_t group)
{
  qg_int4_store at = {store.codes + group * (QG_GROUP / 2), store.scale + group, store.zero + group};
  return at;
}

static qg_out out_at(void *data, qg_dtype type, int64_t element)
{
  qg_out at = {(char *)data + qg_dtype_bytes(type, element), type == QG_BF16};
  return at;
}

static qg_status check_float_type(qg_dtype type, const char *what)
{
  QG_CHECK(type == QG_F32 || type == QG_BF16, QG_ERR_RUNTIME, "%s: elements must be f32 or bf16, not %s",
           what, qg_dtype_name(type));
  return QG_OK;
}

qg_status qg_cpu_quantize_int8(qg_backend *be, const float *src, int64_t count, qg_int8_rule rule,
                               qg_int8_store dst)
{
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  int64_t groups = qg_group_count(count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++)
    kernels->quantize_int8(src + g * QG_GROUP, elements_of_group(count, g), rule, int8_at(dst, g));
  return QG_OK;
}

static void dequantize_dense(const qg_backend *be, const qg_quant_kernels *kernels, qg_int8_store src,
                             qg_view dst)
{
  int64_t count = dst.rows * dst.cols, groups = qg_group_count(count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++)
    kernels->dequantize_int8(int8_at(src, g), elements_of_group(count, g),
                             out_at(dst.data, dst.type, g * QG_GROUP));
}

/* A group in pieces that end with rows of dst. */
static void dequantize_group_padded(const qg_quant_kernels *kernels, qg_int8_store src, int64_t g,
                                    qg_view dst)
{
  qg_int8_store piece = int8_at(src, g);
  int64_t first = g * QG_GROUP, end = qg_min_i64(first + QG_GROUP, dst.rows * dst.cols);
  while (first < end) {
    int64_t row = first / dst.cols, col = first % dst.cols, count = qg_min_i64(end - first, dst.cols - col);
    kernels->dequantize_int8(piece, (int)count, out_at(dst.data, dst.type, row * dst.stride + col));
    piece.codes += count;
    first += count;
  }
}

static void dequantize_padded(const qg_backend *be, const qg_quant_kernels *kernels, qg_int8_store src,
                              qg_view dst)
{
  int64_t groups = qg_group_count(dst.rows * dst.cols);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++) dequantize_group_padded(kernels, src, g, dst);
}

qg_status qg_cpu_dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst)
{
  QG_TRY(check_float_type(dst.type, "dequantize_int8"));
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  if (dst.stride == dst.cols) dequantize_dense(be, kernels, src, dst);
  else
    dequantize_padded(be, kernels, src, dst);
  return QG_OK;
}

qg_status qg_cpu_quantize_int4(qg_backend *be, const float *src, int64_t count, bool include_zero,
                               qg_int4_store dst)
{
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  int64_t groups = qg_group_count(count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++)
    kernels->quantize_int4(src + g * QG_GROUP, elements_of_group(count, g), include_zero, int4_at(dst, g));
  return QG_OK;
}

qg_status qg_cpu_dequantize_int4(qg_backend *be, qg_int4_store src, int64_t count, void *dst, qg_dtype type)
{
  QG_TRY(check_float_type(type, "dequantize_int4"));
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  int64_t groups = qg_group_count(count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++)
    kernels->dequantize_int4(int4_at(src, g), elements_of_group(count, g), out_at(dst, type, g * QG_GROUP));
  return QG_OK;
}

qg_status qg_cpu_update_int8(qg_backend *be, const qg_update_int8_args *args)
{
  QG_CHECK(args->first % QG_GROUP == 0, QG_ERR_RUNTIME,
           "update_int8: first element %lld is not a multiple of the group of %d", (long long)args->first,
           QG_GROUP);
  if (!qg_finite_guard_is_open(args->guard)) return QG_OK;
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  int64_t first_group = args->first / QG_GROUP, groups = qg_group_count(args->count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++)
    kernels->update_int8(int8_at(args->store, first_group + g), args->update + g * QG_GROUP,
                         elements_of_group(args->count, g), args->decay, args->rule, args->rng,
                         (uint64_t)(args->first + g * QG_GROUP));
  return QG_OK;
}

/* Random words come in groups of the matrix's elements, so the first and the last group may be partly used.
 */
static void update_dense_group(const qg_quant_kernels *kernels, const qg_update_dense_args *args,
                               int64_t group)
{
  int64_t start = group * QG_GROUP, low = qg_max_i64(start, args->first);
  int64_t high = qg_min_i64(start + QG_GROUP, args->first + args->count);
  int64_t offset = low - args->first;
  kernels->update_dense(out_at(args->weights, args->type, offset), args->update + offset, (int)(low - start),
                        (int)(high - low), args->decay, args->stochastic, args->rng, (uint64_t)start);
}

qg_status qg_cpu_update_dense(qg_backend *be, const qg_update_dense_args *args)
{
  QG_TRY(check_float_type(args->type, "update_dense"));
  if (!qg_finite_guard_is_open(args->guard)) return QG_OK;
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  int64_t first = args->first / QG_GROUP, end = qg_group_count(args->first + args->count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, end - first))
  for (int64_t g = first; g < end; g++) update_dense_group(kernels, args, g);
  return QG_OK;
}

static qg_in grad_at(const qg_adam_args *args, int64_t element)
{
  return (qg_in){(const char *)args->grad + qg_dtype_bytes(args->grad_type, element),
                 args->grad_type == QG_BF16};
}

static qg_adam_factors adam_factors(const qg_adam_args *args)
{
  return qg_adam_factors_make(args->grad_scale, args->lr, args->beta1, args->beta2, args->eps, args->t,
                              args->bounded);
}

static void adam_f32(const qg_backend *be, const qg_adam_args *args)
{
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  const qg_adam_factors factors = adam_factors(args);
  int64_t groups = qg_group_count(args->count);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, groups))
  for (int64_t g = 0; g < groups; g++) {
    int64_t e = g * QG_GROUP;
    kernels->adam_f32(factors, grad_at(args, e), elements_of_group(args->count, g), args->m + e, args->v + e,
                      out_at(args->delta, args->delta_type, e));
  }
}

static void adam_8bit(const qg_backend *be, const qg_adam_args *args)
{
  const qg_quant_kernels *kernels = QG_ISA_SELECT(qg_quant_kernels);
  const qg_adam_factors factors = adam_factors(args);
  int64_t blocks = qg_ceil_div(args->count, args->block);
#pragma omp parallel for schedule(static) num_threads(threads_for(be, qg_group_count(args->count)))
  for (int64_t b = 0; b < blocks; b++) {
    int64_t e = b * args->block;
    qg_moment_block moments = {args->m_codes + e, args->v_codes + e, args->m_absmax + b, args->v_absmax + b};
    kernels->adam_8bit(factors, grad_at(args, e), qg_min_i64(args->block, args->count - e), moments,
                       out_at(args->delta, args->delta_type, e));
  }
}

/* Either both f32 moments are given, or all of the 8-bit ones with a block. */
static qg_status check_moments(const float *m, const float *v, bool has_8bit, int64_t block, const char *what)
{
  if (m && v) return QG_OK;
  QG_CHECK(has_8bit, QG_ERR_RUNTIME, "%s: neither f32 nor 8-bit moments were given", what);
  QG_CHECK(block > 0, QG_ERR_RUNTIME, "%s: blocks of 8-bit moments need a positive length, not %lld", what,
           (long long)block);
  return QG_OK;
}

qg_status qg_cpu_adam(qg_backend *be, const qg_adam_args *args)
{
  QG_TRY(check_float_type(args->delta_type, "adam"));
  QG_TRY(check_float_type(args->grad_type, "adam"));
  QG_CHECK(args->t >= 1, QG_ERR_RUNTIME, "adam: steps count from 1, not %lld", (long long)args->t);
  QG_TRY(check_moments(args->m, args->v, args->m_codes && args->v_codes && args->m_absmax && args->v_absmax,
                       args->block, "adam"));
  if (!qg_finite_guard_is_open(args->guard)) return QG_OK;
  if (args->m && args->v) adam_f32(be, args);
  else
    adam_8bit(be, args);
  return QG_OK;
}

/* The work of both directions: blocks of 8-bit moments, or groups of f32 ones. */
typedef struct {
  const qg_quant_kernels *kernels;
  const qg_moments_args *args;
  qg_moment_scales scales;
  int64_t block, blocks;
} moments_pass;

static qg_status open_moments(const qg_moments_args *args, const char *what, moments_pass *out)
{
  QG_TRY(check_moments(args->m, args->v, args->m_codes && args->v_codes && args->m_absmax && args->v_absmax,
                       args->block, what));
  int64_t block = args->m ? QG_GROUP : args->block;
  *out = (moments_pass){QG_ISA_SELECT(qg_quant_kernels),
                        args,
                        {args->c1, args->c2_squared},
                        block,
                        qg_ceil_div(args->count, block)};
  return QG_OK;
}

static qg_moment_block block_of(const qg_moments_args *a, int64_t b)
{
  return (qg_moment_block){a->m_codes + b * a->block, a->v_codes + b * a->block, a->m_absmax + b,
                           a->v_absmax + b};
}

qg_status qg_cpu_read_moments(qg_backend *be, const qg_moments_args *a)
{
  moments_pass pass;
  QG_TRY(open_moments(a, "read_moments", &pass));
#pragma omp parallel for schedule(static) num_threads(threads_for(be, qg_group_count(a->count)))
  for (int64_t b = 0; b < pass.blocks; b++) {
    int64_t e = b * pass.block, n = qg_min_i64(pass.block, a->count - e);
    float *mean = a->mean + e, *variance = a->variance + e;
    if (!a->m) pass.kernels->decode_moments(block_of(a, b), n, mean, variance);
    pass.kernels->moments_to_statistics(pass.scales, a->m ? a->m + e : mean, a->m ? a->v + e : variance, n,
                                        mean, variance);
  }
  return QG_OK;
}

/* 8-bit blocks are written over their statistics first, then encoded. */
qg_status qg_cpu_write_moments(qg_backend *be, const qg_moments_args *a)
{
  moments_pass pass;
  QG_TRY(open_moments(a, "write_moments", &pass));
#pragma omp parallel for schedule(static) num_threads(threads_for(be, qg_group_count(a->count)))
  for (int64_t b = 0; b < pass.blocks; b++) {
    int64_t e = b * pass.block, n = qg_min_i64(pass.block, a->count - e);
    float *mean = a->mean + e, *variance = a->variance + e;
    pass.kernels->statistics_to_moments(pass.scales, mean, variance, n, a->m ? a->m + e : mean,
                                        a->m ? a->v + e : variance);
    if (!a->m) pass.kernels->encode_moments(mean, variance, n, block_of(a, b));
  }
  return QG_OK;
}
