/* Matrix instructions, which the lanes of a warp work out together (cuda/kernels/tensor_core.cuh). With
 * CUDAEMU_COUNTS the number of products, of 4096 FLOPs each, is written to that file when the program ends.
 */
#ifndef CUDAEMU_TENSOR_CORE_H
#define CUDAEMU_TENSOR_CORE_H

#include <cstdint>

namespace cudaemu {

void load_matrices(uint32_t (&to)[4], const void *row, bool transposed);
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

}  // namespace cudaemu

#endif
