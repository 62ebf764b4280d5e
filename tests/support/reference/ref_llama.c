#include "support/reference/ref_llama.h"

#include <math.h>
#include <stdlib.h>

#include "model/llama/roles.h"

/* One sequence at work. All arrays are row-major with one row a token. */
typedef struct {
  const qg_model_shape *shape;
  double *const *params;
  int64_t length;
} model;

/* The indices of roles.h, written down once more: the reference shares no code with what it checks. */
static const double *weight(const model *m, qg_role role, int layer)
{
  int final_norm = 1 + QG_LAYER_PARAMS * (int)m->shape->num_layers;
  if (role == QG_ROLE_EMBED) return m->params[0];
  if (role == QG_ROLE_FINAL_NORM) return m->params[final_norm];
  if (role == QG_ROLE_HEAD) return m->params[m->shape->tie_embeddings ? 0 : final_norm + 1];
  return m->params[1 + QG_LAYER_PARAMS * layer + (int)(role - QG_ROLE_ATTN_NORM)];
}

static double *zeros(int64_t count)
{
  double *p = calloc((size_t)count, sizeof *p);
  if (!p) abort();
  return p;
}

/* y = x W^T, W [outputs, inputs]. */
static double *linear(const model *m, const double *x, const double *w, int64_t outputs, int64_t inputs)
{
  double *y = zeros(m->length * outputs);
  for (int64_t t = 0; t < m->length; t++)
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t i = 0; i < inputs; i++) y[t * outputs + o] += x[t * inputs + i] * w[o * inputs + i];
  return y;
}

static double *rmsnorm(const model *m, const double *x, const double *w)
{
  int64_t cols = m->shape->hidden_size;
  double *y = zeros(m->length * cols);
  for (int64_t t = 0; t < m->length; t++) {
    double squares = 0;
    for (int64_t j = 0; j < cols; j++) squares += x[t * cols + j] * x[t * cols + j];
    double scale = 1 / sqrt(squares / (double)cols + m->shape->rms_norm_eps);
    for (int64_t j = 0; j < cols; j++) y[t * cols + j] = x[t * cols + j] * scale * w[j];
  }
  return y;
}

/* Rotate-half: channel j of a head is paired with channel j + head_dim / 2. */
static void rotate(const model *m, double *x, int64_t heads)
{
  int64_t dim = qg_head_dim(m->shape), half = dim / 2;
  for (int64_t t = 0; t < m->length; t++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t j = 0; j < half; j++) {
        double angle = (double)t * pow(m->shape->rope_theta, -2.0 * (double)j / (double)dim);
        double *a = &x[(t * heads + h) * dim + j], *b = a + half;
        double c = cos(angle), s = sin(angle), first = *a;
        *a = first * c - *b * s;
        *b = *b * c + first * s;
      }
}

/* o += softmax(q k / sqrt(dim)) v for one query over the keys up to its own position. */
static void attend_one(const double *q, const double *k, const double *v, int64_t keys, int64_t stride,
                       int64_t dim, double *o)
{
  double *p = zeros(keys), largest = -INFINITY, sum = 0;
  for (int64_t u = 0; u < keys; u++) {
    for (int64_t j = 0; j < dim; j++) p[u] += q[j] * k[u * stride + j] / sqrt((double)dim);
    largest = fmax(largest, p[u]);
  }
  for (int64_t u = 0; u < keys; u++) sum += p[u] = exp(p[u] - largest);
  for (int64_t u = 0; u < keys; u++)
    for (int64_t j = 0; j < dim; j++) o[j] += p[u] / sum * v[u * stride + j];
  free(p);
}

static double *attention(const model *m, const double *q, const double *k, const double *v)
{
  int64_t heads = m->shape->num_heads, group = heads / m->shape->num_kv_heads;
  int64_t dim = qg_head_dim(m->shape), hidden = m->shape->hidden_size, kv = qg_kv_size(m->shape);
  double *o = zeros(m->length * hidden);
  for (int64_t t = 0; t < m->length; t++)
    for (int64_t h = 0; h < heads; h++) {
      int64_t shared = h / group * dim;
      attend_one(q + t * hidden + h * dim, k + shared, v + shared, t + 1, kv, dim, o + t * hidden + h * dim);
    }
  return o;
}

static void add(double *x, double *part, int64_t count)
{
  for (int64_t i = 0; i < count; i++) x[i] += part[i];
  free(part);
}

static double *attention_block(const model *m, const double *x, int layer)
{
  int64_t hidden = m->shape->hidden_size, kv = qg_kv_size(m->shape);
  double *n = rmsnorm(m, x, weight(m, QG_ROLE_ATTN_NORM, layer));
  double *q = linear(m, n, weight(m, QG_ROLE_Q, layer), hidden, hidden);
  double *k = linear(m, n, weight(m, QG_ROLE_K, layer), kv, hidden);
  double *v = linear(m, n, weight(m, QG_ROLE_V, layer), kv, hidden);
  rotate(m, q, m->shape->num_heads);
  rotate(m, k, m->shape->num_kv_heads);
  double *o = attention(m, q, k, v);
  double *y = linear(m, o, weight(m, QG_ROLE_O, layer), hidden, hidden);
  free(n), free(q), free(k), free(v), free(o);
  return y;
}

static double *mlp_block(const model *m, const double *x, int layer)
{
  int64_t hidden = m->shape->hidden_size, inner = m->shape->intermediate_size;
  double *n = rmsnorm(m, x, weight(m, QG_ROLE_MLP_NORM, layer));
  double *gate = linear(m, n, weight(m, QG_ROLE_GATE, layer), inner, hidden);
  double *up = linear(m, n, weight(m, QG_ROLE_UP, layer), inner, hidden);
  for (int64_t i = 0; i < m->length * inner; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
  double *y = linear(m, gate, weight(m, QG_ROLE_DOWN, layer), hidden, inner);
  free(n), free(gate), free(up);
  return y;
}

static double cross_entropy(const model *m, const double *logits, const int32_t *targets)
{
  int64_t vocab = m->shape->vocab_size;
  double loss = 0;
  for (int64_t t = 0; t < m->length; t++) {
    if (targets[t] < 0) continue;
    double sum = 0;
    for (int64_t j = 0; j < vocab; j++) sum += exp(logits[t * vocab + j]);
    loss += log(sum) - logits[t * vocab + targets[t]];
  }
  return loss;
}

static double sequence_loss(const model *m, const int32_t *ids, const int32_t *targets)
{
  int64_t hidden = m->shape->hidden_size, count = m->length * hidden;
  double *x = zeros(count);
  for (int64_t i = 0; i < count; i++)
    x[i] = weight(m, QG_ROLE_EMBED, -1)[ids[i / hidden] * hidden + i % hidden];
  for (int layer = 0; layer < m->shape->num_layers; layer++) {
    add(x, attention_block(m, x, layer), count);
    add(x, mlp_block(m, x, layer), count);
  }
  double *n = rmsnorm(m, x, weight(m, QG_ROLE_FINAL_NORM, -1));
  double *logits = linear(m, n, weight(m, QG_ROLE_HEAD, -1), m->shape->vocab_size, hidden);
  double loss = cross_entropy(m, logits, targets);
  free(x), free(n), free(logits);
  return loss;
}

double ref_llama_loss(const qg_model_shape *shape, double *const *params, int64_t sequences, int64_t length,
                      const int32_t *ids, const int32_t *targets)
{
  model m = {.shape = shape, .params = params, .length = length};
  double loss = 0;
  for (int64_t s = 0; s < sequences; s++) loss += sequence_loss(&m, ids + s * length, targets + s * length);
  return loss;
}
