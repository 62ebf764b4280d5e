/* The row kernels of one element type; included by row_kernels.c with ELEMENT, LOAD, STORE and ROW(name)
 * defined. Sums run in LANES independent partial sums in a fixed pattern: the same bits on every instruction
 * set. */

static float ROW(rmsnorm)(const void *xv, const void *addv, void *sumv, const void *wv, void *yv,
                          int64_t cols, float eps)
{
  const ELEMENT *x = xv, *add = addv, *w = wv;
  ELEMENT *sum = sumv, *y = yv;
  float lanes[LANES] = {0};
  if (add) {
    for (int64_t j = 0; j < cols; j++) STORE(sum[j], LOAD(x[j]) + LOAD(add[j]));
    x = sum;
  }
  int64_t whole = cols - cols % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += LOAD(x[j + l]) * LOAD(x[j + l]);
  for (int64_t j = whole; j < cols; j++) lanes[j - whole] += LOAD(x[j]) * LOAD(x[j]);
  float rstd = 1.0f / sqrtf(sum_lanes(lanes) / (float)cols + eps);
  for (int64_t j = 0; j < cols; j++) STORE(y[j], LOAD(x[j]) * rstd * LOAD(w[j]));
  return rstd;
}

static void ROW(rmsnorm_backward)(const void *xv, const void *wv, const void *dyv, void *dxv, float rstd,
                                  float *dweight, int64_t cols, bool accumulate)
{
  const ELEMENT *x = xv, *w = wv, *dy = dyv;
  ELEMENT *dx = dxv;
  float lanes[LANES] = {0};
  int64_t whole = cols - cols % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += LOAD(dy[j + l]) * LOAD(w[j + l]) * LOAD(x[j + l]);
  for (int64_t j = whole; j < cols; j++) lanes[j - whole] += LOAD(dy[j]) * LOAD(w[j]) * LOAD(x[j]);
  float mean = rstd * rstd * rstd / (float)cols * sum_lanes(lanes);
  for (int64_t j = 0; j < cols; j++) dweight[j] += LOAD(dy[j]) * LOAD(x[j]) * rstd;
  if (accumulate)
    for (int64_t j = 0; j < cols; j++)
      STORE(dx[j], LOAD(dx[j]) + (LOAD(dy[j]) * LOAD(w[j]) * rstd - LOAD(x[j]) * mean));
  else
    for (int64_t j = 0; j < cols; j++) STORE(dx[j], LOAD(dy[j]) * LOAD(w[j]) * rstd - LOAD(x[j]) * mean);
}

static void ROW(rope)(void *xv, const float *cos, const float *sin, int64_t head_stride, int64_t heads,
                      int64_t head_dim, float sign)
{
  int64_t half = head_dim / 2;
  for (int64_t h = 0; h < heads; h++, cos += head_stride, sin += head_stride) {
    ELEMENT *low = (ELEMENT *)xv + h * head_dim, *high = low + half;
    for (int64_t j = 0; j < half; j++) {
      float a = LOAD(low[j]), b = LOAD(high[j]), s = sign * sin[j];
      STORE(low[j], a * cos[j] - b * s);
      STORE(high[j], b * cos[j] + a * s);
    }
  }
}

#if !ROW_NATIVE
static void ROW(swiglu)(const void *gatev, const void *upv, void *outv, int64_t count)
{
  const ELEMENT *gate = gatev, *up = upv;
  ELEMENT *out = outv;
  for (int64_t j = 0; j < count; j++)
    STORE(out[j], LOAD(gate[j]) * vector_sigmoid(LOAD(gate[j])) * LOAD(up[j]));
}

/* silu'(g) = s (1 + g (1 - s)) with s = sigmoid(g). Element j is read before any alias of it is written. */
static void ROW(swiglu_backward)(const void *gatev, const void *upv, const void *d_outv, void *d_gatev,
                                 void *d_upv, void *outv, int64_t count)
{
  const ELEMENT *gate = gatev, *up = upv, *d_out = d_outv;
  ELEMENT *d_gate = d_gatev, *d_up = d_upv, *out = outv;
  if (out) {
#pragma omp simd
    for (int64_t j = 0; j < count; j++) {
      float g = LOAD(gate[j]), u = LOAD(up[j]), d = LOAD(d_out[j]), s = vector_sigmoid(g);
      STORE(d_gate[j], d * u * s * (1.0f + g * (1.0f - s)));
      STORE(d_up[j], d * g * s);
      STORE(out[j], g * s * u);
    }
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < count; j++) {
    float g = LOAD(gate[j]), u = LOAD(up[j]), d = LOAD(d_out[j]), s = vector_sigmoid(g);
    STORE(d_gate[j], d * u * s * (1.0f + g * (1.0f - s)));
    STORE(d_up[j], d * g * s);
  }
}

static void ROW(scale)(const float *src, float factor, ELEMENT *dst, int64_t count)
{
  for (int64_t j = 0; j < count; j++) STORE(dst[j], src[j] * factor);
}
#endif

static void ROW(to_float)(const void *srcv, float *dst, int64_t count)
{
  const ELEMENT *src = srcv;
  for (int64_t j = 0; j < count; j++) dst[j] = LOAD(src[j]);
}

static void ROW(from_float)(const float *src, void *dstv, int64_t count)
{
  ELEMENT *dst = dstv;
  for (int64_t j = 0; j < count; j++) STORE(dst[j], src[j]);
}

static void ROW(add_to_float)(float alpha, const void *srcv, float *dst, int64_t count)
{
  const ELEMENT *src = srcv;
  for (int64_t j = 0; j < count; j++) dst[j] += alpha * LOAD(src[j]);
}

static void ROW(add_from_float)(float alpha, const float *src, void *dstv, int64_t count)
{
  ELEMENT *dst = dstv;
  for (int64_t j = 0; j < count; j++) STORE(dst[j], LOAD(dst[j]) + alpha * src[j]);
}

static void ROW(add)(float alpha, const void *srcv, void *dstv, int64_t count)
{
  const ELEMENT *src = srcv;
  ELEMENT *dst = dstv;
  for (int64_t j = 0; j < count; j++) STORE(dst[j], LOAD(dst[j]) + alpha * LOAD(src[j]));
}

static double ROW(sum_squares)(const void *srcv, int64_t count)
{
  const ELEMENT *src = srcv;
  double lanes[LANES] = {0};
  int64_t whole = count - count % LANES;
  for (int64_t j = 0; j < whole; j += LANES)
    for (int l = 0; l < LANES; l++) lanes[l] += (double)LOAD(src[j + l]) * (double)LOAD(src[j + l]);
  for (int64_t j = whole; j < count; j++) lanes[j - whole] += (double)LOAD(src[j]) * (double)LOAD(src[j]);
  double sum = 0.0;
  for (int l = 0; l < LANES; l++) sum += lanes[l];
  return sum;
}

static float ROW(largest)(const void *srcv, int64_t count)
{
  const ELEMENT *src = srcv;
  float top = 0.0f;
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < count; j++) {
    float magnitude = fabsf(LOAD(src[j]));
    top = magnitude > top ? magnitude : top;
  }
  return top;
}

/* d[j] = p[j] * scale from the exponentials of each chunk, which were taken against the chunk's own maximum.
 */
static void ROW(softmax_gradient)(const float *exponentials, const float *chunk_max, float max, float factor,
                                  ELEMENT *d, int64_t vocab)
{
  for (int64_t first = 0; first < vocab; first += LOSS_CHUNK) {
    float rescale = vector_exp(chunk_max[first / LOSS_CHUNK] - max) * factor;
    int64_t count = vocab - first < LOSS_CHUNK ? vocab - first : LOSS_CHUNK;
    ROW(scale)(exponentials + first, rescale, d + first, count);
  }
}

static double ROW(cross_entropy)(const float *logits, void *d_logitsv, int64_t vocab, int32_t target,
                                 float scale, float *scratch)
{
  ELEMENT *d = d_logitsv;
  if (target < 0) {
    if (d)
      for (int64_t j = 0; j < vocab; j++) STORE(d[j], 0.0f);
    return 0.0;
  }
  float *chunk_max = scratch + vocab, at_target = logits[target], max;
  float sum = softmax_sums(logits, vocab, scratch, chunk_max, &max);
  double loss = log((double)sum) + (double)max - (double)at_target;
  if (d) {
    ROW(softmax_gradient)(scratch, chunk_max, max, scale / sum, d, vocab);
    STORE(d[target], (vector_exp(at_target - max) / sum - 1.0f) * scale);
  }
  return loss;
}

const qg_row_kernels ROW_TABLE = {
    .rmsnorm = ROW(rmsnorm),
    .rmsnorm_backward = ROW(rmsnorm_backward),
    .rope = ROW(rope),
    .swiglu = ROW(swiglu),
    .swiglu_backward = ROW(swiglu_backward),
    .to_float = ROW(to_float),
    .from_float = ROW(from_float),
    .add_to_float = ROW(add_to_float),
    .add_from_float = ROW(add_from_float),
    .add = ROW(add),
    .sum_squares = ROW(sum_squares),
    .largest = ROW(largest),
    .cross_entropy = ROW(cross_entropy),
};
