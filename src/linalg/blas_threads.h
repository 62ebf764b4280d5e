#ifndef QG_LINALG_BLAS_THREADS_H
#define QG_LINALG_BLAS_THREADS_H

/* How many threads BLAS calls outside parallel regions use. */
int qg_blas_threads_get(void);

#endif
