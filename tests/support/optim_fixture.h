/* A small model's optimizer on the CPU backend, and the (dY, X) pairs that feed it. Include after cmocka.h.
 */
#ifndef QG_TESTS_OPTIM_FIXTURE_H
#define QG_TESTS_OPTIM_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert_ok.h"
#include "optim/internal.h"
#include "qgalore/base.h"

/* A backend that counts the FLOPs of its matrix products. `be` is first: the table's functions find it there.
 */
typedef struct {
  qg_backend be;
  qg_backend_ops ops;
  qg_backend *real;
  int64_t flops;
} counting_backend;

typedef struct {
  qg_model_shape shape;
  qg_optim_options options;
  bool separate_memory; /* the backend claims that the host cannot see device memory */
  counting_backend counter;
  qg_mem *mem;
  qg_optim *optim;
  int64_t tokens;
  float *dy, *x; /* device scratch for pairs, as large as the largest */
} fixture;

/* Wide, tall and square matrices; rows that INT8 groups straddle; moments of both kinds. */
static inline qg_model_shape small_shape(void)
{
  qg_model_shape shape = {.hidden_size = 96,
                          .intermediate_size = 288,
                          .num_layers = 2,
                          .num_heads = 4,
                          .num_kv_heads = 2,
                          .vocab_size = 150,
                          .rope_theta = 10000.0,
                          .rms_norm_eps = 1e-6};
  return shape;
}

static inline qg_optim_options options_of(qg_method method)
{
  bool quantised = method == QG_METHOD_QGALORE, eight = quantised || method == QG_METHOD_ADAM8BIT;
  qg_optim_options options = {.method = method,
                              .beta1 = 0.9,
                              .beta2 = 0.95,
                              .eps = 1e-8,
                              .moment_bits = eight ? 8 : 32,
                              .moment_block = 256,
                              .dense_type = QG_F32,
                              .rank = 24,
                              .scale = 0.25,
                              .weight_bits = quantised ? 8 : 32,
                              .projector_bits = quantised ? 4 : 32,
                              .stochastic = true,
                              .include_zero = true,
                              .sample = QG_SAMPLE_BATCH,
                              .update_gap = 10,
                              .lazy = true,
                              .similarity = QG_SIMILARITY_OVERLAP,
                              .similarity_threshold = 0.4,
                              .similarity_window = 5,
                              .subspace = {.method = QG_SUBSPACE_EXACT, .threads = 1},
                              .seed = 7};
  return options;
}

static inline qg_partition whole(const qg_model_shape *shape)
{
  qg_partition part = {.num_layers = (int)shape->num_layers, .has_embedding = true, .has_head = true};
  return part;
}

static inline qg_status counted_gemm(qg_backend *be, const qg_gemm_args *args)
{
  counting_backend *counter = (counting_backend *)be;
  int64_t inner = args->trans_a ? args->a.rows : args->a.cols;
  counter->flops += 2 * args->c.rows * args->c.cols * inner;
  return counter->real->ops->gemm(counter->real, args);
}

static inline void counting_open(counting_backend *counter, const char *precision)
{
  qg_backend_request request = {.name = "cpu", .precision = precision, .threads = 1};
  assert_ok(qg_backend_open(&request, &counter->real));
  counter->be = *counter->real;
  counter->ops = *counter->real->ops;
  counter->ops.gemm = counted_gemm;
  counter->be.ops = &counter->ops;
  counter->flops = 0;
}

static inline float *device_floats(fixture *f, int64_t count)
{
  void *memory;
  assert_ok(qg_mem_alloc(f->mem, QG_OWNER_DATA, "test data", (size_t)count * sizeof(float), &memory));
  return memory;
}

/* Takes shape, options and separate_memory as they are. The fixture must stay where it is: the backend is
 * inside. */
static inline void fixture_open(fixture *f, const qg_partition *part, const char *precision, int64_t tokens,
                                int64_t micro_batches)
{
  counting_open(&f->counter, precision);
  if (f->separate_memory) f->counter.ops.unified_memory = false;
  f->tokens = tokens;
  assert_ok(qg_mem_create(&f->counter.be, &f->mem));
  assert_ok(qg_optim_create(f->mem, &f->counter.be, &f->shape, part, &f->options, tokens, micro_batches,
                            &f->optim));
  int64_t widest = qg_max_i64(f->shape.vocab_size, f->shape.intermediate_size);
  f->dy = device_floats(f, tokens * widest);
  f->x = device_floats(f, tokens * widest);
  assert_ok(qg_optim_init_weights(f->optim));
}

static inline void fixture_close(fixture *f)
{
  qg_optim_destroy(f->optim);
  qg_mem_destroy(f->mem);
  qg_backend_close(f->counter.real);
}

/* A whole small model in fp32. */
static inline void small_open(fixture *f, qg_optim_options options, int64_t tokens, int64_t micro_batches)
{
  f->shape = small_shape();
  f->options = options;
  f->separate_memory = false;
  qg_partition part = whole(&f->shape);
  fixture_open(f, &part, "fp32", tokens, micro_batches);
}

static inline qg_optim_param *param_of(const fixture *f, qg_role role, int layer)
{
  return &f->optim->params[qg_param_id(&f->shape, role, layer)];
}

static inline void *copied_out(const fixture *f, const void *device, size_t bytes)
{
  void *host = malloc(bytes ? bytes : 1);
  assert_non_null(host);
  assert_ok(f->counter.ops.copy_out(f->optim->be, host, device, bytes));
  return host;
}

static inline float *floats_out(const fixture *f, const float *device, int64_t count)
{
  return copied_out(f, device, (size_t)count * sizeof(float));
}

/* The weight as the model reads it, as floats. */
static inline float *weight_out(const fixture *f, int id)
{
  qg_view view;
  const qg_param_port *port = qg_optim_port(f->optim);
  assert_ok(port->read(port->impl, id, &view));
  assert_int_equal(view.type, QG_F32);
  return floats_out(f, view.data, view.rows * view.cols);
}

/* Numbers in [-1, 1), a function of (what, i). */
static inline float noise(uint64_t what, uint64_t i)
{
  qg_rng rng = {what, 0, 0, QG_RNG_SYNTHETIC};
  return 2.0f * qg_rng_unit_at(rng, i) - 1.0f;
}

static inline float *noise_matrix(uint64_t what, int64_t rows, int64_t cols)
{
  float *out = malloc((size_t)(rows * cols) * sizeof(float));
  assert_non_null(out);
  for (int64_t i = 0; i < rows * cols; i++) out[i] = noise(what, (uint64_t)i);
  return out;
}

static inline uint64_t pair_key(int64_t step, int64_t micro_batch, int id, int which)
{
  return ((uint64_t)step * 64 + (uint64_t)micro_batch) * 4096 + (uint64_t)id * 2 + (uint64_t)which;
}

/* The dY [tokens, rows] (which 0) or X [tokens, cols] (which 1) of a parameter and micro-batch. */
static inline float *pair_half(const fixture *f, const qg_optim_param *p, int64_t step, int64_t micro_batch,
                               int which)
{
  return noise_matrix(pair_key(step, micro_batch, p->info.id, which), f->tokens,
                      which ? p->info.cols : p->info.rows);
}

static inline void put(const fixture *f, float *device, const float *host, int64_t count)
{
  assert_ok(f->counter.ops.copy_in(f->optim->be, device, host, (size_t)count * sizeof(float)));
  assert_ok(f->counter.ops.sync(f->optim->be));
}

/* Hands (dY, X), both host [tokens, ...], to the port. */
static inline qg_status send_matrix(fixture *f, const qg_optim_param *p, int64_t tokens, const float *dy,
                                    const float *x)
{
  const qg_param_port *port = qg_optim_port(f->optim);
  put(f, f->dy, dy, tokens * p->info.rows);
  put(f, f->x, x, tokens * p->info.cols);
  return port->matrix_grad(port->impl, p->info.id, qg_view_make(f->dy, QG_F32, tokens, p->info.rows),
                           qg_view_make(f->x, QG_F32, tokens, p->info.cols));
}

static inline void send_noise_matrix(fixture *f, const qg_optim_param *p, int64_t step, int64_t micro_batch)
{
  float *dy = pair_half(f, p, step, micro_batch, 0), *x = pair_half(f, p, step, micro_batch, 1);
  assert_ok(send_matrix(f, p, f->tokens, dy, x));
  free(dy);
  free(x);
}

/* Row i of dx [tokens, hidden] goes to token i % vocab. */
static inline void send_noise_rows(fixture *f, const qg_optim_param *p, int64_t step, int64_t micro_batch)
{
  const qg_param_port *port = qg_optim_port(f->optim);
  float *dx = pair_half(f, p, step, micro_batch, 1);
  int32_t *ids = malloc((size_t)f->tokens * sizeof *ids);
  assert_non_null(ids);
  for (int64_t i = 0; i < f->tokens; i++) ids[i] = (int32_t)(i % f->shape.vocab_size);
  put(f, f->x, dx, f->tokens * p->info.cols);
  assert_ok(f->counter.ops.copy_in(f->optim->be, f->dy, ids, (size_t)f->tokens * sizeof *ids));
  assert_ok(port->row_grad(port->impl, p->info.id, (int32_t *)f->dy,
                           qg_view_make(f->x, QG_F32, f->tokens, p->info.cols)));
  free(ids);
  free(dx);
}

static inline void send_noise_vector(fixture *f, const qg_optim_param *p, int64_t step, int64_t micro_batch)
{
  const qg_param_port *port = qg_optim_port(f->optim);
  float *accumulator, *more = noise_matrix(pair_key(step, micro_batch, p->info.id, 0), 1, p->info.cols);
  assert_ok(port->vector_grad(port->impl, p->info.id, &accumulator));
  put(f, f->x, more, p->info.cols);
  assert_ok(f->counter.ops.axpy(f->optim->be, 1.0f, qg_view_make(f->x, QG_F32, 1, p->info.cols),
                                qg_view_make(accumulator, QG_F32, 1, p->info.cols)));
  free(more);
}

/* Every gradient of one micro-batch, in the order of backward: last parameter first. */
static inline void send_noise(fixture *f, int64_t step, int64_t micro_batch)
{
  const qg_param_port *port = qg_optim_port(f->optim);
  for (int id = f->optim->param_count - 1; id >= 0; id--) {
    const qg_optim_param *p = &f->optim->params[id];
    if (!p->held) continue;
    bool tied = qg_optim_is_tied(f->optim, p);
    if (qg_optim_is_vector(p)) send_noise_vector(f, p, step, micro_batch);
    else if (p->info.role == QG_ROLE_EMBED && (!tied || f->optim->part.has_embedding))
      send_noise_rows(f, p, step, micro_batch);
    if (qg_role_is_linear(p->info.role) || p->info.role == QG_ROLE_HEAD || (tied && f->optim->part.has_head))
      send_noise_matrix(f, p, step, micro_batch);
    if (p->info.role == QG_ROLE_HEAD) assert_ok(port->matrix_done(port->impl, id));
  }
  assert_ok(qg_optim_end_micro_batch(f->optim, micro_batch));
}

static inline void noise_gradients(fixture *f, int64_t step)
{
  assert_ok(qg_optim_begin(f->optim, step));
  for (int64_t i = 0; i < f->optim->micro_batches; i++) send_noise(f, step, i);
  assert_ok(qg_optim_finish_gradients(f->optim));
}

static inline void noise_step(fixture *f, int64_t step, double lr)
{
  noise_gradients(f, step);
  assert_ok(qg_optim_apply(f->optim, lr, 1.0));
}

/* Bytes of a state entry on the host. Caller frees. */
static inline void *entry_out(const fixture *f, const qg_state_entry *entry)
{
  size_t bytes = qg_dtype_bytes(entry->type, entry->elements);
  if (entry->on_device) return copied_out(f, entry->data, bytes);
  void *host = malloc(bytes);
  assert_non_null(host);
  memcpy(host, entry->data, bytes);
  return host;
}

/* One number for everything that a checkpoint would hold. */
static inline uint32_t state_digest(const fixture *f)
{
  const qg_state_entry *entries;
  int count;
  uint32_t crc = 0;
  assert_ok(qg_optim_state(f->optim, &entries, &count));
  for (int i = 0; i < count; i++) {
    if (!entries[i].data) continue;
    void *bytes = entry_out(f, &entries[i]);
    crc = qg_crc32c(crc, bytes, qg_dtype_bytes(entries[i].type, entries[i].elements));
    free(bytes);
  }
  return crc;
}

#endif
