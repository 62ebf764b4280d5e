/* A parameter port without an optimizer: dense weights in the compute type, dense f32 gradients. */
#ifndef QG_TESTS_DENSE_PORT_H
#define QG_TESTS_DENSE_PORT_H

#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/model.h"

typedef struct {
  qg_backend *be;
  qg_model_shape shape;
  int count;
  /* Matrices are handed out through one scratch, so that a view kept too long reads another matrix. */
  bool shared_scratch;
  qg_view scratch;                               /* [1, elements of the largest matrix], compute type */
  qg_view *weights;                              /* [count], compute type */
  qg_view *grads;                                /* [count], f32 */
  int64_t matrix_grads, row_grads, vector_grads; /* calls */
} dense_port;

static inline int64_t dense_port_largest(const qg_model_shape *shape)
{
  int64_t largest = 0;
  for (int id = 0; id < qg_param_count(shape); id++) {
    qg_param param = qg_param_describe(shape, id);
    largest = qg_max_i64(largest, param.rows * param.cols);
  }
  return largest;
}

static inline qg_status dense_port_take(qg_mem *mem, dense_port *port)
{
  for (int id = 0; id < port->count; id++) {
    qg_param param = qg_param_describe(&port->shape, id);
    QG_TRY(qg_mem_view(mem, QG_OWNER_WEIGHTS, param.name, port->be->compute, param.rows, param.cols,
                       &port->weights[id]));
    QG_TRY(
        qg_mem_view(mem, QG_OWNER_GRADIENTS, param.name, QG_F32, param.rows, param.cols, &port->grads[id]));
  }
  return QG_OK;
}

static inline void dense_port_close(dense_port *port)
{
  free(port->weights);
  free(port->grads);
  *port = (dense_port){0};
}

/* Device memory comes from `mem`; free the rest with dense_port_close. */
static inline qg_status dense_port_open(qg_mem *mem, qg_backend *be, const qg_model_shape *shape,
                                        bool shared_scratch, dense_port *port)
{
  qg_status status = QG_OK;
  *port = (dense_port){
      .be = be, .shape = *shape, .count = qg_param_count(shape), .shared_scratch = shared_scratch};
  size_t count = (size_t)port->count;
  QG_TRY_OUT(qg_calloc(count, sizeof(qg_view), "weights", (void **)&port->weights));
  QG_TRY_OUT(qg_calloc(count, sizeof(qg_view), "gradients", (void **)&port->grads));
  QG_TRY_OUT(dense_port_take(mem, port));
  if (shared_scratch)
    QG_TRY_OUT(qg_mem_view(mem, QG_OWNER_WORKSPACE, "read weight", be->compute, 1, dense_port_largest(shape),
                           &port->scratch));
out:
  if (status != QG_OK) dense_port_close(port);
  return status;
}

/* Sets one weight from host f32. The gradient's memory, still unused, carries the values to the device. */
static inline qg_status dense_port_set(dense_port *port, int param, const float *values)
{
  qg_backend *be = port->be;
  qg_view staging = port->grads[param];
  size_t bytes = qg_dtype_bytes(QG_F32, staging.rows * staging.cols);
  QG_TRY(be->ops->copy_in(be, staging.data, values, bytes));
  QG_TRY(be->ops->convert(be, port->weights[param], staging));
  QG_TRY(be->ops->zero(be, staging.data, bytes));
  return QG_OK;
}

static inline qg_status dense_port_get_grad(const dense_port *port, int param, float *values)
{
  qg_view grad = port->grads[param];
  return port->be->ops->copy_out(port->be, values, grad.data, qg_dtype_bytes(QG_F32, grad.rows * grad.cols));
}

static inline qg_status dense_port_read(void *impl, int param, qg_view *out)
{
  dense_port *port = impl;
  qg_view weight = port->weights[param];
  *out = weight;
  if (!port->shared_scratch || weight.rows == 1) return QG_OK;
  *out = qg_view_make(port->scratch.data, weight.type, weight.rows, weight.cols);
  return port->be->ops->convert(port->be, *out, weight);
}

static inline qg_status dense_port_read_rows(void *impl, int param, int64_t first, int64_t count,
                                             qg_view *out)
{
  QG_TRY(dense_port_read(impl, param, out));
  *out = qg_view_rows(*out, first, count);
  return QG_OK;
}

static inline qg_status dense_port_matrix_grad(void *impl, int param, qg_view dy, qg_view x)
{
  dense_port *port = impl;
  qg_gemm_args gemm = {
      .a = dy, .b = x, .c = port->grads[param], .trans_a = true, .alpha = 1.0f, .beta = 1.0f};
  port->matrix_grads++;
  return port->be->ops->gemm(port->be, &gemm);
}

static inline qg_status dense_port_row_grad(void *impl, int param, const int32_t *ids, qg_view dx)
{
  dense_port *port = impl;
  port->row_grads++;
  return port->be->ops->embed_backward(port->be, ids, dx, port->grads[param]);
}

static inline qg_status dense_port_vector_grad(void *impl, int param, float **out)
{
  dense_port *port = impl;
  port->vector_grads++;
  *out = port->grads[param].data;
  return QG_OK;
}

static inline qg_param_port dense_port_calls(dense_port *port)
{
  return (qg_param_port){.impl = port,
                         .read = dense_port_read,
                         .read_rows = dense_port_read_rows,
                         .matrix_grad = dense_port_matrix_grad,
                         .row_grad = dense_port_row_grad,
                         .vector_grad = dense_port_vector_grad};
}

#endif
