/* Typed views of memory that somebody else owns. A view is a value: pass it, keep it, never free it. */
#ifndef QGALORE_BASE_VIEW_H
#define QGALORE_BASE_VIEW_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
  QG_F32,
  QG_BF16,
  QG_F64,
  QG_I32,
  QG_U8,
  QG_U4, /* two per byte, the even element in the low nibble */
  QG_U32,
  QG_I64,
  QG_U64,
  QG_DTYPE_COUNT
} qg_dtype;

/* "f32", "bf16", ... */
static inline const char *qg_dtype_name(qg_dtype type)
{
  static const char *const names[QG_DTYPE_COUNT] = {"f32", "bf16", "f64", "i32", "u8",
                                                    "u4",  "u32",  "i64", "u64"};
  return names[type];
}

/* Bytes of `elements` consecutive elements; a half-filled last byte of QG_U4 counts whole. */
static inline size_t qg_dtype_bytes(qg_dtype type, int64_t elements)
{
  size_t n = (size_t)elements;
  switch (type) {
    case QG_U8: return n;
    case QG_U4: return (n + 1) / 2;
    case QG_BF16: return 2 * n;
    case QG_F64:
    case QG_I64:
    case QG_U64: return 8 * n;
    default: return 4 * n;
  }
}

/* A row-major matrix: element (i, j) is data[i * stride + j]. */
typedef struct {
  void *data;
  qg_dtype type;
  int64_t rows, cols;
  int64_t stride; /* elements from one row to the next, >= cols */
} qg_view;

/* A dense matrix (stride == cols). */
static inline qg_view qg_view_make(void *data, qg_dtype type, int64_t rows, int64_t cols)
{
  qg_view view = {data, type, rows, cols, cols};
  return view;
}

/* The stride of padded rows: they begin at multiples of 16 bytes from the first, because products of other matrices are slow
 * on a device. A padded matrix takes `rows` * qg_padded_stride(cols) elements. */
static inline int64_t qg_padded_stride(int64_t cols)
{
  const int64_t unit = 8;
  return (cols + unit - 1) / unit * unit;
}

static inline qg_view qg_view_make_padded(void *data, qg_dtype type, int64_t rows, int64_t cols)
{
  qg_view view = {data, type, rows, cols, qg_padded_stride(cols)};
  return view;
}

/* Rows [first, first + count) of a view. */
static inline qg_view qg_view_rows(qg_view view, int64_t first, int64_t count)
{
  view.data = (char *)view.data + qg_dtype_bytes(view.type, first * view.stride);
  view.rows = count;
  return view;
}

/* Columns [first, first + count) of a view. */
static inline qg_view qg_view_cols(qg_view view, int64_t first, int64_t count)
{
  view.data = (char *)view.data + qg_dtype_bytes(view.type, first);
  view.cols = count;
  return view;
}

#endif
