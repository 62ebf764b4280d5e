#include "backend/cpu/matmul.h"

#include <stdlib.h>
#include <string.h>
#if QG_HAVE_ONEDNN
#include <dnnl.h>
#endif

#include "qgalore/base.h"

#if QG_HAVE_ONEDNN && DNNL_VERSION_MAJOR == 2

enum { MOST_SHAPES = 128 }; /* a step of one model uses about twenty */

/* All that a primitive depends on. Compared with memcmp: made by memset and
 * assignment. */
typedef struct {
  int64_t m, n, k, a_stride, b_stride, c_stride;
  int64_t trans_a, trans_b, accumulate;
} shape;

typedef struct {
  shape key;
  dnnl_primitive_t primitive;
  dnnl_memory_t a, b, c;
} entry;

struct qg_matmul {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  entry entries[MOST_SHAPES];
  int count;
};

qg_matmul *qg_matmul_create(void)
{
  qg_matmul *m = calloc(1, sizeof *m);
  if (m && dnnl_engine_create(&m->engine, dnnl_cpu, 0) == dnnl_success &&
      dnnl_stream_create(&m->stream, m->engine, dnnl_stream_default_flags) == dnnl_success)
    return m;
  qg_matmul_destroy(m);
  return NULL;
}

static void destroy_entry(entry *e)
{
  if (e->primitive) dnnl_primitive_destroy(e->primitive);
  if (e->a) dnnl_memory_destroy(e->a);
  if (e->b) dnnl_memory_destroy(e->b);
  if (e->c) dnnl_memory_destroy(e->c);
  memset(e, 0, sizeof *e);
}

void qg_matmul_destroy(qg_matmul *m)
{
  if (!m) return;
  for (int i = 0; i < m->count; i++) destroy_entry(&m->entries[i]);
  if (m->stream) dnnl_stream_destroy(m->stream);
  if (m->engine) dnnl_engine_destroy(m->engine);
  free(m);
}

static shape shape_of(const qg_gemm_args *g)
{
  shape s;
  memset(&s, 0, sizeof s);
  s.m = g->c.rows;
  s.n = g->c.cols;
  s.k = g->trans_a ? g->a.rows : g->a.cols;
  s.a_stride = g->a.stride;
  s.b_stride = g->b.stride;
  s.c_stride = g->c.stride;
  s.trans_a = g->trans_a;
  s.trans_b = g->trans_b;
  s.accumulate = g->beta != 0.0f;
  return s;
}

/* A [rows, cols] operand; a transposed one is the same memory with its strides
 * exchanged. */
static dnnl_status_t describe(dnnl_memory_desc_t *md, int64_t rows, int64_t cols, int64_t stride,
                              bool transposed)
{
  dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : stride, transposed ? stride : 1};
  return dnnl_memory_desc_init_by_strides(md, 2, dims, dnnl_bf16, strides);
}

static dnnl_status_t make_primitive(qg_matmul *m, entry *e, const dnnl_memory_desc_t md[3])
{
  dnnl_matmul_desc_t operation;
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_post_ops_t sum = NULL;
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t status = dnnl_matmul_desc_init(&operation, &md[0], &md[1], NULL, &md[2]);
  if (!status) status = dnnl_primitive_attr_create(&attributes);
  if (!status) status = dnnl_post_ops_create(&sum);
  if (!status && e->key.accumulate) status = dnnl_post_ops_append_sum(sum, 1.0f);
  if (!status) status = dnnl_primitive_attr_set_post_ops(attributes, sum);
  if (!status) status = dnnl_primitive_desc_create(&description, &operation, attributes, m->engine, NULL);
  if (!status) status = dnnl_primitive_create(&e->primitive, description);
  if (description) dnnl_primitive_desc_destroy(description);
  if (sum) dnnl_post_ops_destroy(sum);
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  return status;
}

static dnnl_status_t fill_entry(qg_matmul *m, entry *e)
{
  const shape *s = &e->key;
  dnnl_memory_desc_t md[3];
  dnnl_status_t status = describe(&md[0], s->m, s->k, s->a_stride, s->trans_a);
  if (!status) status = describe(&md[1], s->k, s->n, s->b_stride, s->trans_b);
  if (!status) status = describe(&md[2], s->m, s->n, s->c_stride, false);
  if (!status) status = make_primitive(m, e, md);
  if (!status) status = dnnl_memory_create(&e->a, &md[0], m->engine, DNNL_MEMORY_NONE);
  if (!status) status = dnnl_memory_create(&e->b, &md[1], m->engine, DNNL_MEMORY_NONE);
  if (!status) status = dnnl_memory_create(&e->c, &md[2], m->engine, DNNL_MEMORY_NONE);
  return status;
}

/* NULL if oneDNN has no matmul for the shape, or too many shapes are in use. */
static entry *find_entry(qg_matmul *m, const shape *key)
{
  for (int i = 0; i < m->count; i++)
    if (memcmp(&m->entries[i].key, key, sizeof *key) == 0) return &m->entries[i];
  if (m->count == MOST_SHAPES) return NULL;
  entry *e = &m->entries[m->count];
  e->key = *key;
  if (fill_entry(m, e) != dnnl_success) {
    destroy_entry(e);
    return NULL;
  }
  m->count++;
  return e;
}

static bool fits(const qg_gemm_args *g)
{
  return g->a.type == QG_BF16 && g->c.type == QG_BF16 && g->alpha == 1.0f &&
         (g->beta == 0.0f || g->beta == 1.0f);
}

qg_status qg_matmul_try(qg_matmul *m, const qg_gemm_args *g, bool *done)
{
  *done = false;
  if (!m || !fits(g)) return QG_OK;
  shape key = shape_of(g);
  entry *e = find_entry(m, &key);
  if (!e) return QG_OK;
  dnnl_status_t status = dnnl_memory_set_data_handle(e->a, g->a.data);
  if (!status) status = dnnl_memory_set_data_handle(e->b, g->b.data);
  if (!status) status = dnnl_memory_set_data_handle(e->c, g->c.data);
  dnnl_exec_arg_t operands[] = {{DNNL_ARG_SRC, e->a}, {DNNL_ARG_WEIGHTS, e->b}, {DNNL_ARG_DST, e->c}};
  if (!status) status = dnnl_primitive_execute(e->primitive, m->stream, QG_COUNT_OF(operands), operands);
  if (!status) status = dnnl_stream_wait(m->stream);
  QG_CHECK(status == dnnl_success, QG_ERR_RUNTIME,
           "oneDNN refused a bf16 matmul of %lld x %lld x %lld (status %d)", (long long)key.m,
           (long long)key.n, (long long)key.k, (int)status);
  *done = true;
  return QG_OK;
}

#else

qg_matmul *qg_matmul_create(void)
{
  return NULL;
}

void qg_matmul_destroy(qg_matmul *matmul)
{
  (void)matmul;
}

qg_status qg_matmul_try(qg_matmul *matmul, const qg_gemm_args *args, bool *done)
{
  (void)matmul, (void)args;
  *done = false;
  return QG_OK;
}

#endif
