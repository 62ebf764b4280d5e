/* Sums over vectors, and a transpose: what the BLAS does not have. */
#ifndef QG_LINALG_VECTORS_H
#define QG_LINALG_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

/* ||x||^2 in double and max |x|; false if any element is not finite. */
bool qg_scan_f32(int64_t count, const float *x, double *norm2, double *largest);

/* sum x_i y_i in double. */
double qg_dot_f32(int64_t count, const float *x, const float *y);

/* out [cols, rows] = in [rows, cols] transposed. */
void qg_transpose_f32(int64_t rows, int64_t cols, const float *in, float *out);

#endif
