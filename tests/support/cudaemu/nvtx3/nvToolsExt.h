/* Stand-in for NVTX: ranges are counted, and a range that ends without having begun stops the program. */
#ifndef CUDAEMU_NVTOOLSEXT_H
#define CUDAEMU_NVTOOLSEXT_H

#ifdef __cplusplus
extern "C" {
#endif

/* The level of the range, from 0. */
int nvtxRangePushA(const char *name);
int nvtxRangePop(void);

#ifdef __cplusplus
}
#endif

#endif
