/* What a program asked of the emulated device so far; tests find it by its name in the plugin. */
#ifndef CUDAEMU_COUNTS_H
#define CUDAEMU_COUNTS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  long waits;                 /* of the host for a stream or an event */
  double bf16_flop, f32_flop; /* of matrix products, by the type of their operands */
  long launches;              /* of kernels, products of cuBLAS, fills and copies */
} cudaemu_counts;

extern cudaemu_counts cudaemu_counted;

#ifdef __cplusplus
}
#endif

#endif
