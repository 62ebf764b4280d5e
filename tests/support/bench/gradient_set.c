#include "support/bench/gradient_set.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

enum { LAYERS = 8 };

void *gradient_set_alloc(size_t bytes)
{
  void *memory = malloc(bytes);
  if (!memory) {
    fprintf(stderr, "bench_subspace: no memory for %zu bytes\n", bytes);
    exit(QG_ERR_RESOURCE);
  }
  return memory;
}

static float uniform(qg_rng rng, int64_t i)
{
  return qg_rng_unit_at(rng, (uint64_t)i) - 0.5f;
}

/* Gradients of a layer are sums of outer products over tokens with a few strong directions: G = A diag(s) B
 * with random A [m, d], B [d, n], d = min(m, n), and s_i = (1 + i)^-0.5. */
static void add_synthetic(int64_t m, int64_t n, uint32_t id, float share, float *gradient)
{
  int64_t d = qg_min_i64(m, n);
  qg_rng left = {.seed = 1, .tensor = id, .purpose = QG_RNG_SYNTHETIC};
  qg_rng right = {.seed = 2, .tensor = id, .purpose = QG_RNG_SYNTHETIC};
  float *row = gradient_set_alloc((size_t)d * sizeof *row),
        *b = gradient_set_alloc((size_t)(d * n) * sizeof *b);
  for (int64_t i = 0; i < d * n; i++) b[i] = uniform(right, i);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t k = 0; k < d; k++) row[k] = share * uniform(left, i * d + k) * powf(1 + (float)k, -0.5f);
    for (int64_t k = 0; k < d; k++)
      for (int64_t j = 0; j < n; j++) gradient[i * n + j] += row[k] * b[k * n + j];
  }
  free(row);
  free(b);
}

static void append(gradient_set *s, int64_t m, int64_t n, float *gradient)
{
  int64_t d = qg_min_i64(m, n), rank = qg_min_i64(GRADIENT_SET_RANK, d);
  s->jobs[s->count] = (qg_subspace_job){.m = m,
                                        .n = n,
                                        .rank = rank,
                                        .gradient = gradient,
                                        .basis = gradient_set_alloc((size_t)(rank * d) * sizeof(float)),
                                        .singular_values = gradient_set_alloc((size_t)rank * sizeof(float)),
                                        .seed = (uint64_t)s->count};
  s->count++;
}

void gradient_set_make_llama_60m(gradient_set *s, bool drifted)
{
  static const int64_t shapes[][2] = {{512, 512},  {512, 512},  {512, 512}, {512, 512},
                                      {1376, 512}, {1376, 512}, {512, 1376}};
  for (int i = 0; i < LAYERS * QG_COUNT_OF(shapes); i++) {
    int64_t m = shapes[i % QG_COUNT_OF(shapes)][0], n = shapes[i % QG_COUNT_OF(shapes)][1];
    float *gradient = gradient_set_alloc((size_t)(m * n) * sizeof *gradient);
    memset(gradient, 0, (size_t)(m * n) * sizeof *gradient);
    add_synthetic(m, n, (uint32_t)i, 1e-3f, gradient);
    if (drifted) add_synthetic(m, n, (uint32_t)i + GRADIENT_SET_MAX, 0.35e-3f, gradient);
    append(s, m, n, gradient);
  }
}

void gradient_set_read(const char *path, gradient_set *s)
{
  FILE *file = fopen(path, "rb");
  int64_t shape[2];
  while (file && s->count < GRADIENT_SET_MAX && fread(shape, sizeof shape, 1, file) == 1) {
    size_t count = (size_t)shape[0] * (size_t)shape[1];
    float *gradient = gradient_set_alloc(count * sizeof *gradient);
    if (fread(gradient, sizeof *gradient, count, file) != count) break;
    append(s, shape[0], shape[1], gradient);
  }
  if (!file || !feof(file) || s->count == 0) {
    fprintf(stderr, "bench_subspace: %s cannot be read as records of (m, n, m * n floats)\n", path);
    exit(QG_ERR_INPUT);
  }
  fclose(file);
}

/* A basis as an INT4 projector gives it back. */
float *basis_through_int4(qg_backend *be, const float *basis, int64_t count)
{
  int64_t groups = qg_group_count(count);
  qg_int4_store store = {gradient_set_alloc((size_t)(count + 1) / 2),
                         gradient_set_alloc((size_t)groups * sizeof(float)),
                         gradient_set_alloc((size_t)groups)};
  float *out = gradient_set_alloc((size_t)count * sizeof *out);
  if (be->ops->quantize_int4(be, basis, count, true, store) != QG_OK ||
      be->ops->dequantize_int4(be, store, count, out, QG_F32) != QG_OK) {
    fprintf(stderr, "bench_subspace: %s\n", qg_error_message());
    exit(QG_ERR_RUNTIME);
  }
  free(store.codes);
  free(store.scale);
  free(store.zero);
  return out;
}

static double *widened(const float *x, int64_t count)
{
  double *out = gradient_set_alloc((size_t)count * sizeof *out);
  for (int64_t i = 0; i < count; i++) out[i] = (double)x[i];
  return out;
}

static double sum_of_squares(const double *x, int64_t count)
{
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += x[i] * x[i];
  return sum;
}

/* The share of a gradient's energy that a basis holds: ||G P^T||^2 / ||G||^2 on the right, ||P^T G||^2 /
 * ||G||^2 on the left. */
double basis_energy(const qg_subspace_job *job, const float *basis)
{
  bool right = qg_side_of(job->m, job->n) == QG_SIDE_RIGHT;
  int length = (int)(right ? job->m : job->n), d = (int)(right ? job->n : job->m), rank = (int)job->rank;
  double *g = widened(job->gradient, job->m * job->n), *p = widened(basis, job->rank * d);
  double *inside = gradient_set_alloc((size_t)length * (size_t)rank * sizeof *inside);
  if (right)
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, length, rank, d, 1, g, d, p, d, 0, inside, rank);
  else
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rank, length, d, 1, p, rank, g, length, 0, inside,
                length);
  double share = sum_of_squares(inside, job->rank * length) / sum_of_squares(g, job->m * job->n);
  free(g);
  free(p);
  free(inside);
  return share;
}
