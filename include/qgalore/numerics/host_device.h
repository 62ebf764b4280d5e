/* Functions that are compiled for the host and for the device: one definition of each formula, so that every backend stores
 * the same bits. Compile without contraction of a*b+c (-ffp-contract=off, nvcc -fmad=false), or bits differ. */
#ifndef QGALORE_NUMERICS_HOST_DEVICE_H
#define QGALORE_NUMERICS_HOST_DEVICE_H

#ifdef __CUDACC__
#define QG_HD __host__ __device__ static inline
#else
#define QG_HD static inline
#endif

#endif
