/* Stand-in for the calls of cuSOLVER that the CUDA backend makes (solver.cc). */
#ifndef CUDAEMU_CUSOLVERDN_H
#define CUDAEMU_CUSOLVERDN_H

#include <stdint.h>

#include "cublas_v2.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CUSOLVER_STATUS_SUCCESS = 0, CUSOLVER_STATUS_INVALID_VALUE = 3 } cusolverStatus_t;
typedef enum { CUSOLVER_EIG_MODE_VECTOR = 1 } cusolverEigMode_t;

typedef struct cusolverDnContext *cusolverDnHandle_t;
typedef struct cusolverDnParams *cusolverDnParams_t;

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params);
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);
cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n,
                                             cudaDataType a_type, const void *a, int64_t lda,
                                             cudaDataType w_type, const void *w, cudaDataType compute,
                                             size_t *device_bytes, size_t *host_bytes);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n,
                                  cudaDataType a_type, void *a, int64_t lda, cudaDataType w_type, void *w,
                                  cudaDataType compute, void *device_work, size_t device_bytes,
                                  void *host_work, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             signed char jobu, signed char jobvt, int64_t m, int64_t n,
                                             cudaDataType a_type, const void *a, int64_t lda,
                                             cudaDataType s_type, const void *s, cudaDataType u_type,
                                             const void *u, int64_t ldu, cudaDataType vt_type, const void *vt,
                                             int64_t ldvt, cudaDataType compute, size_t *device_bytes,
                                             size_t *host_bytes);
cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu,
                                  signed char jobvt, int64_t m, int64_t n, cudaDataType a_type, void *a,
                                  int64_t lda, cudaDataType s_type, void *s, cudaDataType u_type, void *u,
                                  int64_t ldu, cudaDataType vt_type, void *vt, int64_t ldvt,
                                  cudaDataType compute, void *device_work, size_t device_bytes,
                                  void *host_work, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnDpotrf_bufferSize(cusolverDnHandle_t handle, cublasFillMode_t fill, int n,
                                             double *a, int lda, int *doubles);
cusolverStatus_t cusolverDnDpotrf(cusolverDnHandle_t handle, cublasFillMode_t fill, int n, double *a, int lda,
                                  double *work, int doubles, int *info);
cusolverStatus_t cusolverDnSgeqrf_bufferSize(cusolverDnHandle_t handle, int m, int n, float *a, int lda,
                                             int *floats);
cusolverStatus_t cusolverDnSgeqrf(cusolverDnHandle_t handle, int m, int n, float *a, int lda, float *tau,
                                  float *work, int floats, int *info);
cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const float *a,
                                             int lda, const float *tau, int *floats);
cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda,
                                  const float *tau, float *work, int floats, int *info);

#ifdef __cplusplus
}
#endif

#endif
