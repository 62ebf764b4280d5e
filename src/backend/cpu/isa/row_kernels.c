#include "backend/cpu/row_kernels.h"

#include <float.h>
#include <math.h>

#include "backend/cpu/isa/vector_math.h"
#include "qgalore/numerics/bf16.h"
#if defined(__AVX512BF16__)
#define QG_ROWS_NATIVE 1
#include "backend/cpu/isa/row_native.h"
#else
#define QG_ROWS_NATIVE 0
#endif

enum { LANES = 16, LOSS_CHUNK = QG_LOSS_CHUNK };

static float sum_lanes(const float *lanes)
{
  float sum = 0.0f;
  for (int l = 0; l < LANES; l++) sum += lanes[l];
  return sum;
}

static float row_max(const float *x, int64_t count)
{
  float max = -INFINITY;
#pragma omp simd reduction(max : max)
  for (int64_t j = 0; j < count; j++) max = x[j] > max ? x[j] : max;
  return max;
}

#if !QG_ROWS_NATIVE
/* exponentials = exp(x - shift); returns their sum. */
static float exponentials_of(const float *x, int64_t count, float shift, float *exponentials)
{
  float lanes[LANES] = {0};
  int64_t whole = count - count % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += exponentials[j + l] = vector_exp(x[j + l] - shift);
  for (int64_t j = whole; j < count; j++) lanes[j - whole] += exponentials[j] = vector_exp(x[j] - shift);
  return sum_lanes(lanes);
}
#endif

/* One pass over the logits, in chunks that stay in the first-level cache: each against its own maximum
 * (Milakov and Gimelshein, arXiv 1805.02867). Returns the sum of exp(x - *max). */
static float softmax_sums(const float *x, int64_t count, float *exponentials, float *chunk_max, float *max)
{
  float sum = 0.0f;
  *max = -FLT_MAX; /* a chunk of minus infinities would otherwise be subtracted from itself */
  for (int64_t first = 0; first < count; first += LOSS_CHUNK) {
    int64_t n = count - first < LOSS_CHUNK ? count - first : LOSS_CHUNK;
    float here = fmaxf(row_max(x + first, n), -FLT_MAX), greater = fmaxf(here, *max);
    float part = exponentials_of(x + first, n, here, exponentials + first);
    sum = sum * vector_exp(*max - greater) + part * vector_exp(here - greater);
    chunk_max[first / LOSS_CHUNK] = here;
    *max = greater;
  }
  return sum;
}

static float tile_scale_max(float *row, int64_t count, float scale)
{
  for (int64_t j = 0; j < count; j++) row[j] *= scale;
  return row_max(row, count);
}

static float tile_exp_sum(float *row, int64_t count, float shift)
{
  float lanes[LANES] = {0};
  for (int64_t j = 0; j < count; j++) row[j] = vector_exp(row[j] - shift);
  int64_t whole = count - count % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += row[j + l];
  for (int64_t j = whole; j < count; j++) lanes[j - whole] += row[j];
  return sum_lanes(lanes);
}

static void tile_scale(float *row, int64_t count, float factor)
{
  for (int64_t j = 0; j < count; j++) row[j] *= factor;
}

static void tile_score_gradient(float *p, const float *dp, int64_t count, float delta, float scale)
{
  for (int64_t j = 0; j < count; j++) p[j] = p[j] * (dp[j] - delta) * scale;
}

static float tile_dot(const float *a, const float *b, int64_t count)
{
  float lanes[LANES] = {0};
  int64_t whole = count - count % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += a[j + l] * b[j + l];
  for (int64_t j = whole; j < count; j++) lanes[j - whole] += a[j] * b[j];
  return sum_lanes(lanes);
}

const qg_tile_kernels QG_ISA_NAME(qg_tiles) = {
    .scale_max = tile_scale_max,
    .exp_sum = tile_exp_sum,
    .scale = tile_scale,
    .score_gradient = tile_score_gradient,
    .dot = tile_dot,
};

#define ELEMENT float
#define LOAD(element) (element)
#define STORE(element, value) ((element) = (value))
#define ROW(name) f32_##name
#define ROW_NATIVE 0
#define ROW_TABLE QG_ISA_NAME(qg_rows_f32)
#include "backend/cpu/isa/row_body.h"
#undef ELEMENT
#undef LOAD
#undef STORE
#undef ROW
#undef ROW_NATIVE
#undef ROW_TABLE

#define ELEMENT uint16_t
#define LOAD(element) qg_bf16_to_float(element)
#define STORE(element, value) ((element) = qg_bf16_from_float(value))
#define ROW(name) bf16_##name
#define ROW_NATIVE QG_ROWS_NATIVE
#define ROW_TABLE QG_ISA_NAME(qg_rows_bf16)
#include "backend/cpu/isa/row_body.h"
