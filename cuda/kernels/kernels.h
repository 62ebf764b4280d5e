/* The kernels as the host side sees them: each function queues its work on a stream and returns what the
 * launch returned. Arguments and formulas are those of qgalore/backend.h; pointers are to device memory. */
#ifndef QG_CUDA_KERNELS_H
#define QG_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include "qgalore/backend.h"
#include "qgalore/numerics/adam.h"
#include "qgalore/numerics/dynamic_search.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the dynamic 8-bit kernels look up, in device memory. */
typedef struct {
  qg_dynamic_maps maps;
  qg_dynamic_searches searches;
} qg_cuda_tables;

/* cudaSuccess if this build has code for the current device. from_ptx: the driver has to compile it first. */
cudaError_t qg_k_probe(bool *from_ptx);

/* Elements. `partial` f64 [QG_CUDA_SUM_BLOCKS]. */
enum { QG_CUDA_SUM_BLOCKS = 256 };
cudaError_t qg_k_convert(cudaStream_t stream, qg_view dst, qg_view src);
/* dst = alpha * src + beta * dst; beta == 0 never reads dst. */
cudaError_t qg_k_scale_add(cudaStream_t stream, float alpha, qg_view src, float beta, qg_view dst);
cudaError_t qg_k_sum_squares(cudaStream_t stream, qg_view src, double *partial, double *out,
                             qg_finite_guard *guard);
cudaError_t qg_k_embed(cudaStream_t stream, qg_view table, const int32_t *ids, qg_view out);
cudaError_t qg_k_embed_backward(cudaStream_t stream, const int32_t *ids, qg_view d_out, qg_view grad);

/* Rows. The weight's gradient is summed over blocks of QG_CUDA_NORM_ROWS rows:
 * `partial` f32 [ceil(rows / QG_CUDA_NORM_ROWS), cols]. */
enum { QG_CUDA_NORM_ROWS = 16 };
cudaError_t qg_k_rmsnorm(cudaStream_t stream, const qg_rmsnorm_args *args);
cudaError_t qg_k_rmsnorm_backward(cudaStream_t stream, const qg_rmsnorm_backward_args *args, float *partial);
cudaError_t qg_k_rope(cudaStream_t stream, const qg_rope_args *args);
cudaError_t qg_k_swiglu(cudaStream_t stream, const qg_swiglu_args *args);
cudaError_t qg_k_swiglu_backward(cudaStream_t stream, const qg_swiglu_args *args);
/* `row_loss` f64 [rows]. */
cudaError_t qg_k_cross_entropy(cudaStream_t stream, const qg_cross_entropy_args *args, double *row_loss);

/* Fused attention on tensor cores of sm_80 and up: bf16, head sizes of 16 to 128 in multiples of 16, rows of
 * every head aligned to 16 bytes. `delta` f32 [heads, tokens] is scratch. */
cudaError_t qg_k_attention_forward(cudaStream_t stream, const qg_attention_args *args);
cudaError_t qg_k_attention_backward(cudaStream_t stream, const qg_attention_args *args, float *delta);

/* Attention in blocks. An item is one sequence of one kv head, and one of the query heads that share it: item
 * = sequence * kv_heads + kv_head. Packed arrays hold items one after the other, each [length, dim], or
 * [keys, dim] of keys and values, with rows of `padded_dim` elements (zeros beyond dim); scores hold items of
 * [rows, padded_keys]. */
typedef struct {
  int64_t first_item, items;
  int64_t kv_heads, group, member; /* query head = kv_head * group + member */
  int64_t length, keys; /* queries and keys of a sequence, the first query at `position` among its keys */
  int64_t position;
  int64_t key_length; /* rows of k and v from one sequence to the next */
  int64_t dim, padded_dim;
  int64_t first_row, rows; /* block of query rows */
  int64_t padded_keys;
  int64_t tokens;
  float scale;
} qg_attention_block;

/* Which heads of a [tokens, heads * dim] view a packed array holds. */
typedef enum { QG_HEADS_KV, QG_HEADS_QUERY } qg_packed_heads;

/* packed (view.type) = all rows of the items. */
cudaError_t qg_k_pack(cudaStream_t stream, const qg_attention_block *b, qg_packed_heads heads, qg_view from,
                      void *packed);
/* Rows [first_row, first_row + rows) of the items of `to` = packed (packed_type), which begins at first_row.
 */
cudaError_t qg_k_unpack(cudaStream_t stream, const qg_attention_block *b, qg_packed_heads heads,
                        const void *packed, qg_dtype packed_type, qg_view to);
/* p (type) = softmax over the visible keys of f32 scores (already scaled), 0 elsewhere; lse as in the table.
 */
cudaError_t qg_k_softmax(cudaStream_t stream, const qg_attention_block *b, const float *scores, void *p,
                         qg_dtype type, float *lse);
/* delta f32 [items, length] = sum over dim of o * d_o. */
cudaError_t qg_k_delta(cudaStream_t stream, const qg_attention_block *b, qg_view o, qg_view d_o,
                       float *delta);
/* p = exp(scores - lse), ds = p * (dp - delta) * scale, both 0 where a key is not visible. */
cudaError_t qg_k_softmax_backward(cudaStream_t stream, const qg_attention_block *b, const float *scores,
                                  const float *dp, const float *lse, const float *delta, void *p, void *ds,
                                  qg_dtype type);

/* Bases: `left` as in the projector's layout; rows [k, d], of which the last `ascending` go from the last
 * vector backwards. */
cudaError_t qg_k_load_basis(cudaStream_t stream, const float *basis, bool left, int64_t k, int64_t d,
                            float *rows);
cudaError_t qg_k_random_rows(cudaStream_t stream, uint64_t seed, int64_t rows, int64_t d, float *out);
cudaError_t qg_k_store_basis(cudaStream_t stream, const float *rows, int64_t ascending, bool left,
                               int64_t k, int64_t d, float *basis);
/* x = high + low in bf16, up to 2^-17 of it. */
cudaError_t qg_k_split(cudaStream_t stream, const float *x, int64_t count, uint16_t *high, uint16_t *low);
/* Rows of norm 1. One of zeros or beyond fp32 is left as it is. */
cudaError_t qg_k_unit_rows(cudaStream_t stream, float *rows, int64_t count, int64_t d);
/* out [count, width] = elements [first, first + width) of rows [count, d], in double. */
cudaError_t qg_k_widen_rows(cudaStream_t stream, const float *rows, int64_t count, int64_t d, int64_t first,
                            int64_t width, double *out);
/* factor [count, count] = gram in fp32, and the least element of its diagonal. */
cudaError_t qg_k_narrow_factor(cudaStream_t stream, const double *gram, int64_t count, float *factor,
                               float *least);
/* out[i] = x[i]^2 */
cudaError_t qg_k_square(cudaStream_t stream, const float *x, int64_t count, float *out);

/* Quantised state. */
cudaError_t qg_k_quantize_int8(cudaStream_t stream, const float *src, int64_t count, qg_int8_rule rule,
                               qg_int8_store dst);
cudaError_t qg_k_dequantize_int8(cudaStream_t stream, qg_int8_store src, qg_view dst);
cudaError_t qg_k_quantize_int4(cudaStream_t stream, const float *src, int64_t count, bool include_zero,
                               qg_int4_store dst);
cudaError_t qg_k_dequantize_int4(cudaStream_t stream, qg_int4_store src, int64_t count, void *dst,
                                 qg_dtype type);
cudaError_t qg_k_update_int8(cudaStream_t stream, const qg_update_int8_args *args);
cudaError_t qg_k_update_dense(cudaStream_t stream, const qg_update_dense_args *args);
cudaError_t qg_k_adam_f32(cudaStream_t stream, const qg_adam_args *args, qg_adam_factors factors);
cudaError_t qg_k_adam_8bit(cudaStream_t stream, const qg_adam_args *args, qg_adam_factors factors,
                           const qg_cuda_tables *tables);
cudaError_t qg_k_read_moments(cudaStream_t stream, const qg_moments_args *args, const qg_cuda_tables *tables);
cudaError_t qg_k_write_moments(cudaStream_t stream, const qg_moments_args *args,
                               const qg_cuda_tables *tables);

#ifdef __cplusplus
}
#endif

#endif
