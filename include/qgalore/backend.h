/* What a compute device can do: one table of operations per backend.
 *
 * Pointers in views and arguments are device pointers, made by `alloc` of the same
 * backend, unless an argument says host. Operations are queued in order on the
 * backend's one queue and may return before they are done; `sync` waits. The CPU
 * backend is done on return. Asynchronous operations are in qg_backend_async_ops. No
 * operation allocates: scratch comes from the workspace that qg_backend_reserve sized
 * once.
 *
 * Determinism: for the same arguments an operation gives the same bits every time,
 * whatever the number of threads (reductions run over fixed blocks in a fixed order).
 * GEMM is excepted: its bits may depend on the number of threads, never on the run.
 *
 * "compute type" below is backend->compute: QG_BF16 or QG_F32. All arithmetic inside
 * an operation is fp32 (or wider); results are rounded once, to nearest even. */
#ifndef QGALORE_BACKEND_H
#define QGALORE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"
#include "qgalore/base/view.h"
#include "qgalore/numerics/finite_guard.h"
#include "qgalore/numerics/philox.h"
#include "qgalore/numerics/quant_groups.h"

typedef struct qg_backend qg_backend;

/* The largest sizes that one job asks of the operations; sizes the workspace. */
typedef struct {
  int64_t tokens;          /* per micro-batch */
  int64_t sequence_length;
  int64_t hidden_size, intermediate_size;
  int64_t num_heads, num_kv_heads;
  int64_t vocab_size, logit_chunk_tokens; /* rows of logits alive at once */
  int64_t key_length;      /* of attention; 0: sequence_length */
} qg_workload;

/* C = alpha * op(A) * op(B) + beta * C. A and B have one type (f32 or bf16), C is f32 or
 * bf16. Accumulation in fp32. beta == 0 never reads C. C may not overlap A or B. */
typedef struct {
  qg_view a, b, c;
  bool trans_a, trans_b;
  float alpha, beta;
} qg_gemm_args;

/* y = x' * rstd * weight with x' = x + add (add.data may be NULL: x' = x) and
 * rstd[i] = 1/sqrt(mean_j x'^2 + eps). All views [rows, cols] in the compute type;
 * weight [1, cols] in the compute type; rstd f32 [rows]. sum receives x' when add is
 * given, and may alias x or add. (Zhang and Sennrich, arXiv 1910.07467.) */
typedef struct {
  qg_view x, add, sum, weight, y;
  float *rstd;
  float eps;
} qg_rmsnorm_args;

/* dx = dy * weight * rstd - x * rstd^3 / cols * sum_j(dy * weight * x)   (+ dx if accumulate);
 * dweight[j] += sum_i dy * x * rstd, f32 [cols]; NULL: nobody wants it, and dx is the same to the bit. x is what was
 * normalised. dx may alias dy. */
typedef struct {
  qg_view x, weight, dy, dx;
  const float *rstd;
  float *dweight;
  bool accumulate;
} qg_rmsnorm_backward_args;

/* Rotates pairs (j, j + head_dim/2) of every head in place (rotate-half convention):
 * (a, b) -> (a c - b s, b c + a s); inverse uses -s. x [tokens, heads * head_dim] in the
 * compute type; token t has position `position` + t % sequence_length; cos and sin are f32
 * [position + sequence_length, head_dim / 2], one such table for all heads, or one for each. */
typedef struct {
  qg_view x;
  const float *cos, *sin;
  int64_t sequence_length, heads, head_dim;
  bool inverse;
  int64_t position;    /* of the first token of every sequence */
  int64_t head_stride; /* elements of cos, and of sin, from one head's table to the next; 0: all heads share one */
} qg_rope_args;

/* How scores become weights of the values. A backend refuses a kind that it does not have with QG_ERR_INPUT. (Blocks or fused,
 * qg_attention in config.h, is the route that computes it.) */
typedef enum { QG_ATTENTION_SOFTMAX } qg_attention_kind;

/* Causal attention over `tokens / sequence_length` independent sequences:
 * o = softmax(q k^T / sqrt(head_dim) + mask) v; query head h reads kv head
 * h / (heads / kv_heads). q, o [tokens, heads * head_dim],
 * k, v [sequences * key_length, kv_heads * head_dim] in the compute type; lse f32 [heads, tokens],
 * the log-sum-exp of each row. Query i of a sequence sees its keys 0 .. position + i; keys behind
 * position + sequence_length are not read, so k and v may be a cache that is not full yet. Never
 * holds more than a block of scores per thread. (Dao et al., arXiv 2205.14135.)
 * Backward reads all of these and d_o, and overwrites d_q, d_k, d_v. It needs as many keys as queries. */
typedef struct {
  qg_view q, k, v, o;
  float *lse;
  qg_view d_o, d_q, d_k, d_v; /* backward only */
  int64_t sequence_length, heads, kv_heads, head_dim;
  qg_attention_kind kind;
  int64_t key_length; /* rows of k and v of each sequence; 0: sequence_length */
  int64_t position;   /* of the first query of every sequence among its keys */
} qg_attention_args;

/* out = silu(gate) * up, silu(x) = x / (1 + exp(-x)). All [rows, cols] in the compute type.
 * Backward: given d_out, overwrites d_gate and d_up (may alias gate and up), and recomputes
 * out when out.data is not NULL (out may alias d_out). */
typedef struct {
  qg_view gate, up, out;
  qg_view d_out, d_gate, d_up; /* backward only */
} qg_swiglu_args;

/* Softmax cross-entropy of rows of logits (f32 [rows, vocab]):
 * *loss += sum over rows with target >= 0 of (logsumexp(row) - row[target]);
 * d_logits = (softmax(row) - onehot(target)) * grad_scale, 0 for ignored rows, in the compute
 * type, when d_logits.data is not NULL (may share memory with logits if both are f32).
 * targets int32 [rows]. loss is one f64 in device memory. */
typedef struct {
  qg_view logits, d_logits;
  const int32_t *targets;
  double *loss;
  float grad_scale;
} qg_cross_entropy_args;

/* Storage of one INT8 matrix: groups of QG_GROUP consecutive elements of the row-major flattened
 * matrix (the last group may be short). */
typedef struct {
  uint8_t *codes; /* [elements] */
  float *scale;   /* [groups] */
  uint8_t *zero;  /* [groups] */
} qg_int8_store;

/* The same for INT4: codes packed as QG_U4. */
typedef struct {
  uint8_t *codes; /* [(elements + 1) / 2] */
  float *scale;
  uint8_t *zero;
} qg_int4_store;

/* How an INT8 matrix is requantised. */
typedef struct {
  bool include_zero;     /* the range of a group always contains 0 (doc/method.md section 13: reference false) */
  bool stochastic;       /* stochastic rounding; else to nearest even */
  bool bf16_arithmetic;  /* round w, update and their sum to bf16 first, as the reference does */
} qg_int8_rule;

/* For the elements [first, first + count) of a matrix, first a multiple of QG_GROUP:
 *   w = dequantise(store);  w = w + update - decay * w;  requantise with a fresh scale and zero.
 * `update` f32 [count] (element i belongs to matrix element first + i). decay = lr * weight_decay.
 * The uniform number of matrix element e is qg_rng_unit_at(rng, e). Nothing happens if the guard is closed. */
typedef struct {
  qg_int8_store store;
  int64_t first, count;
  const float *update;
  float decay;
  qg_int8_rule rule;
  qg_rng rng;
  const qg_finite_guard *guard; /* device, or NULL */
} qg_update_int8_args;

/* weights (f32 or bf16, [count], matrix elements first .. first + count) = w + update - decay * w.
 * bf16 with `stochastic`: rounded up with the probability of the discarded bits. The guard as in qg_update_int8_args. */
typedef struct {
  void *weights;
  qg_dtype type;
  int64_t first, count;
  const float *update;
  float decay;
  bool stochastic;
  qg_rng rng;
  const qg_finite_guard *guard;
} qg_update_dense_args;

/* One Adam step over `count` elements (doc/method.md section 8; t counts from 1):
 *   g' = grad * grad_scale;  v = b2 v + (1-b2) g'^2;  m = b1 m + (1-b1) g';
 *   delta = -lr * c2/c1 * m / (sqrt(v) + c2 * eps),  c1 = 1 - b1^t, c2 = sqrt(1 - b2^t).
 * A non-finite g' counts as 0 for that element. bounded: v is kept at what m allows (qg_adam_bound in qgalore/numerics/adam.h).
 * Moments are either f32 (m, v) or 8 bit in blocks of `block` elements: codes and one f32
 * absmax per block (m signed map, v unsigned map). The new values are used before they are
 * requantised. delta is f32 or bf16 [count]. The guard as in qg_update_int8_args: moments and delta stay as they were. */
typedef struct {
  const void *grad; /* f32 or bf16 [count] */
  qg_dtype grad_type;
  int64_t count;
  float grad_scale;
  float lr, beta1, beta2, eps;
  int64_t t;
  bool bounded;
  float *m, *v;                 /* f32 moments, or NULL */
  uint8_t *m_codes, *v_codes;   /* 8-bit moments, or NULL */
  float *m_absmax, *v_absmax;
  int64_t block;
  void *delta;
  qg_dtype delta_type;
  const qg_finite_guard *guard;
} qg_adam_args;

/* Moments between their stored form and the statistics that a change of basis mixes (doc/method.md section 9, LDAdam,
 * arXiv 2410.16103). After t steps, c1 = 1 - b1^t, c2^2 = 1 - b2^t (callers pass c1 and c2_squared):
 *   read:  mean = m / c1;  variance = max(v / c2^2 - mean^2, 0)
 *   write: m = c1 mean;    v = c2^2 (variance + mean^2)
 * mean, variance f32 [count]; write leaves them undefined. Stored moments as in qg_adam_args, from the beginning of a
 * block. The element's formula is in qgalore/numerics/adam.h. */
typedef struct {
  float *mean, *variance;
  int64_t count;
  float c1, c2_squared;
  float *m, *v;               /* f32 moments, or NULL */
  uint8_t *m_codes, *v_codes; /* 8-bit moments, or NULL */
  float *m_absmax, *v_absmax;
  int64_t block;
} qg_moments_args;

/* How a device solves a subspace. POWER: block power steps from a previous basis (one, or two from a random start) and up to
 * more_steps more, until they capture min_energy_ratio of the estimated optimum; vectors come in the order of the previous
 * basis but for the last. GRAM: exact, by the eigenvectors of the Gram matrix of the short side, in fp32. SVD: singular
 * vectors of the gradient itself, slow: what validates the others. */
typedef enum { QG_SOLVER_POWER, QG_SOLVER_GRAM, QG_SOLVER_SVD } qg_device_solver;

/* The subspace of a gradient; layouts are those of qgalore/linalg.h. */
typedef struct {
  qg_view gradient;        /* f32 [m, n], dense */
  int64_t rank;
  qg_device_solver solver;
  const float *previous;   /* basis on the device; NULL: a random start */
  int more_steps;
  double min_energy_ratio;
  uint64_t seed;           /* of random vectors */
  void *workspace;         /* device, of subspace_bytes */
  size_t workspace_bytes;
  float *basis;            /* device, out; not `previous` */
  float *singular_values;  /* host, GRAM and SVD: out [rank], descending */
  double energy;           /* out */
  bool accepted;           /* out; false: not finite, beyond fp32 or not enough energy. The results are then undefined */
} qg_subspace_args;

/* From one basis to another of the same gradient's short side d, both on the device: the change of basis C (qg_subspace_rotation)
 * and what qg_subspace_overlap and qg_subspace_cosine say of it. */
typedef struct {
  bool left;               /* the side, as of qgalore/linalg.h */
  int64_t rank, d;
  const float *from, *to;
  float *rotation;         /* device, out [2, rank * rank]: C, and the squares of its elements */
  double overlap, cosine;  /* out */
} qg_basis_change_args;

/* What a backend takes of its device's memory in addition to what the ledger takes; 0 where memory is unified. */
typedef struct {
  size_t held;      /* since it was opened: tables and the like */
  size_t allowance; /* estimate of what its context, code and libraries take */
  size_t margin;    /* of the allowance: what may come later, as code that is loaded at its first use */
} qg_device_share;

/* A point in the work of a device. One that was never recorded is reached. */
typedef struct qg_event qg_event;
/* A sequence of operations with their arguments, to be queued in one call. */
typedef struct qg_graph qg_graph;

/* Asynchronous operations: copies in, copies out and the unpacking of weights run at the same time as the queue of
 * operations, each kind in order among itself. An operation begins once `after` is reached (NULL: at once) and records `done`; what else it has to wait for, or what has
 * to wait for it, is the caller's to say. Host memory is from alloc_host. No call waits. */
typedef struct {
  qg_status (*create_event)(qg_backend *be, qg_event **out);
  void (*destroy_event)(qg_backend *be, qg_event *event);
  qg_status (*record)(qg_backend *be, qg_event *event); /* reached when all operations queued so far are done */
  qg_status (*wait_event)(qg_backend *be, qg_event *event); /* operations queued from here on begin once it is reached */
  qg_status (*query)(qg_backend *be, qg_event *event, bool *reached);
  qg_status (*copy_in)(qg_backend *be, void *device, const void *host, size_t bytes, qg_event *after, qg_event *done);
  qg_status (*copy_out)(qg_backend *be, void *host, const void *device, size_t bytes, qg_event *after, qg_event *done);
  qg_status (*dequantize_int8)(qg_backend *be, qg_int8_store src, qg_view dst, qg_event *after, qg_event *done);
  /* What is called from begin_graph to end_graph is remembered instead of done, asynchronous operations too: no call in between
   * waits, and events of earlier calls mean nothing there. */
  qg_status (*begin_graph)(qg_backend *be);
  qg_status (*end_graph)(qg_backend *be, qg_graph **out);
  qg_status (*launch_graph)(qg_backend *be, qg_graph *graph); /* queues it */
  void (*destroy_graph)(qg_backend *be, qg_graph *graph);
} qg_backend_async_ops;

/* The table. Entries marked optional may be NULL; the wrapper named there then does the work. */
typedef struct {
  const char *name;
  bool unified_memory; /* device pointers may be read and written by the host after sync */
  const qg_backend_async_ops *async; /* NULL where memory is unified and calls return when they are done */

  /* Memory. */
  qg_status (*alloc)(qg_backend *be, size_t bytes, void **out); /* 64-byte aligned, touched, zeroed */
  void (*release)(qg_backend *be, void *memory, size_t bytes);
  qg_status (*alloc_host)(qg_backend *be, size_t bytes, void **out); /* pinned, for transfers */
  void (*release_host)(qg_backend *be, void *memory, size_t bytes);
  qg_status (*copy_in)(qg_backend *be, void *device, const void *host, size_t bytes);
  qg_status (*copy_out)(qg_backend *be, void *host, const void *device, size_t bytes); /* waits */
  qg_status (*zero)(qg_backend *be, void *memory, size_t bytes);
  qg_status (*sync)(qg_backend *be);
  qg_status (*memory_info)(qg_backend *be, size_t *free, size_t *total); /* bytes of the device, all processes; NULL: unified memory */

  /* Optional, all or none: the device's own time. From a begin or an end on it belongs to `phase`, a qg_phase (-1: to none);
   * `name` opens and the end closes a range for profilers. Neither waits. clock_read waits for what was queued before the
   * last of them and adds to seconds [phases] what passed since the last reading. */
  void (*clock_begin)(qg_backend *be, const char *name, int phase);
  void (*clock_end)(qg_backend *be, int phase);
  qg_status (*clock_read)(qg_backend *be, double *seconds, int phases);

  /* Scratch: how much this backend wants for a workload, and the memory itself. */
  size_t (*workspace_bytes)(qg_backend *be, const qg_workload *workload);
  void (*set_workspace)(qg_backend *be, void *memory, size_t bytes);

  /* Linear algebra and element-wise. */
  qg_status (*gemm)(qg_backend *be, const qg_gemm_args *args);
  qg_status (*convert)(qg_backend *be, qg_view dst, qg_view src);           /* f32 <-> bf16 or copy */
  qg_status (*axpy)(qg_backend *be, float alpha, qg_view src, qg_view dst); /* dst += alpha * src, f32 or bf16 each */
  /* *out (device f64) = sum of src^2; non-finite in, non-finite out. The guard (device, or NULL) notes it. */
  qg_status (*sum_squares)(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard);

  /* The transformer. */
  qg_status (*embed)(qg_backend *be, qg_view table, const int32_t *ids, qg_view out); /* out[i] = table[ids[i]], compute type out, table f32 or bf16 */
  qg_status (*embed_backward)(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad); /* grad[ids[i]] += d_out[i], grad f32 or bf16, i ascending */
  qg_status (*rmsnorm)(qg_backend *be, const qg_rmsnorm_args *args);
  qg_status (*rmsnorm_backward)(qg_backend *be, const qg_rmsnorm_backward_args *args);
  qg_status (*rope)(qg_backend *be, const qg_rope_args *args);
  qg_status (*attention)(qg_backend *be, const qg_attention_args *args);
  qg_status (*attention_backward)(qg_backend *be, const qg_attention_args *args);
  qg_status (*swiglu)(qg_backend *be, const qg_swiglu_args *args);
  qg_status (*swiglu_backward)(qg_backend *be, const qg_swiglu_args *args);
  qg_status (*cross_entropy)(qg_backend *be, const qg_cross_entropy_args *args);

  /* Quantised state. */
  qg_status (*quantize_int8)(qg_backend *be, const float *src, int64_t count, qg_int8_rule rule, qg_int8_store dst); /* to nearest */
  /* dst (f32 or bf16) = the first rows * cols elements. */
  qg_status (*dequantize_int8)(qg_backend *be, qg_int8_store src, qg_view dst);
  qg_status (*quantize_int4)(qg_backend *be, const float *src, int64_t count, bool include_zero, qg_int4_store dst);
  qg_status (*dequantize_int4)(qg_backend *be, qg_int4_store src, int64_t count, void *dst, qg_dtype type);
  qg_status (*update_int8)(qg_backend *be, const qg_update_int8_args *args);
  qg_status (*update_dense)(qg_backend *be, const qg_update_dense_args *args);
  qg_status (*adam)(qg_backend *be, const qg_adam_args *args);
  qg_status (*read_moments)(qg_backend *be, const qg_moments_args *args);
  qg_status (*write_moments)(qg_backend *be, const qg_moments_args *args);

  /* Optional, all or none: qg_subspace_solve and its relatives do it on the host. They wait. */
  size_t (*subspace_bytes)(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver);
  qg_status (*subspace)(qg_backend *be, qg_subspace_args *args);
  qg_status (*basis_change)(qg_backend *be, qg_basis_change_args *args);
} qg_backend_ops;

struct qg_backend {
  const qg_backend_ops *ops;
  void (*close)(qg_backend *be);
  void *impl;             /* the backend's own */
  qg_dtype compute;       /* QG_BF16 or QG_F32 */
  int threads;            /* CPU threads this rank may use */
  bool planned;           /* opened without its device: it tells sizes and nothing else */
  const char *tensor;     /* what the operations are about, for messages; see qg_backend_name */
  qg_device_share share;
  int64_t update_elements; /* of an update alive at once, whole groups: enough to keep it busy, few enough for its cache */
  bool own_gemm;          /* products pack their operands in the workspace, not in memory of a library */
  char device[32];        /* what at most one rank of a node should use: PCI id and UUID; "" for the CPU */
  char description[160];  /* for the log: device, instruction set, libraries */
  char choice[160];       /* for the log: why not another backend, where the choice was the program's; or "" */
};

/* Operations are about `tensor` from here on, in a layer also those that follow on its product: a failed call names it. The
 * text stays the caller's. */
static inline void qg_backend_name(qg_backend *be, const char *tensor)
{
  be->tensor = tensor;
}

typedef struct {
  const char *name;      /* "auto", "cpu", "cuda" */
  const char *precision; /* "bf16", "fp32" */
  int threads;           /* >= 1 */
  int local_rank;        /* node-local rank, for the choice of a device */
  bool fused_attention;  /* scores stay on the chip where the device and the head size allow it */
  bool plan;             /* only sizes will be asked for: the device that is named need not be here */
} qg_backend_request;

/* Opens a backend. QG_ERR_RESOURCE explains why the one that was asked for is not there. Local. */
qg_status qg_backend_open(const qg_backend_request *request, qg_backend **out);
void qg_backend_close(qg_backend *be);

/* Writes one line per known backend: name, available or why not. */
void qg_backend_list(char *buffer, size_t size);

#endif
