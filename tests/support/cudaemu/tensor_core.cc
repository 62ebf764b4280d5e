#include "tensor_core.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fibers.h"
#include "qgalore/numerics/bf16.h"

namespace cudaemu {

namespace {

/* Shows `mine` to the other lanes of the warp until the next wait_for_warp. */
template <typename T>
const lanes &show(const T &mine)
{
  return exchange(reinterpret_cast<uint64_t>(&mine));
}

template <typename T>
const T &of_lane(const lanes &shown, unsigned lane)
{
  return *reinterpret_cast<const T *>(shown.of_lane[lane]);
}

struct matrix_row {
  uint16_t of[8];
};

struct operands {
  uint32_t a[4], b[2];
};

struct product_count {
  unsigned long lanes = 0;

  ~product_count()
  {
    const char *path = getenv("CUDAEMU_COUNTS");
    FILE *file = path ? fopen(path, "w") : nullptr;
    if (!file) return;
    fprintf(file, "%lu\n", lanes / 32);
    fclose(file);
  }
} products;

uint32_t element(const lanes &rows, unsigned matrix, unsigned row, unsigned column)
{
  return of_lane<matrix_row>(rows, 8 * matrix + row).of[column];
}

float half_of(uint32_t pair, unsigned index)
{
  return qg_bf16_to_float(static_cast<uint16_t>(pair >> 16 * index));
}

/* A[row, k] lies in register (row >= 8) + 2 (k >= 8) of the lane whose g = row % 8 and t = k % 8 rounded down
 * to even; B[k, column] in register (k >= 8) of the lane whose g = column and t the same. */
float element_of_a(const lanes &shown, unsigned row, unsigned k)
{
  const operands &held = of_lane<operands>(shown, row % 8 * 4 + k % 8 / 2);
  return half_of(held.a[row / 8 + k / 8 * 2], k % 2);
}

float element_of_b(const lanes &shown, unsigned k, unsigned column)
{
  const operands &held = of_lane<operands>(shown, column * 4 + k % 8 / 2);
  return half_of(held.b[k / 8], k % 2);
}

}  // namespace

void load_matrices(uint32_t (&to)[4], const void *row, bool transposed)
{
  if (reinterpret_cast<uintptr_t>(row) % sizeof(matrix_row) != 0) {
    fprintf(stderr, "cudaemu: the row of a matrix at %p is not aligned to 16 bytes\n", row);
    abort();
  }
  matrix_row mine;
  memcpy(&mine, row, sizeof mine);
  const lanes &rows = show(mine);
  unsigned lane = position.thread.x % 32, g = lane / 4, t = lane % 4 * 2;
  for (unsigned i = 0; i < 4; i++)
    to[i] = transposed ? element(rows, i, t, g) | element(rows, i, t + 1, g) << 16
                       : element(rows, i, g, t) | element(rows, i, g, t + 1) << 16;
  wait_for_warp();
}

/* fp32 sums ascend, which is one of the orders that a tensor core may take. */
void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
  operands mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const lanes &shown = show(mine);
  unsigned lane = position.thread.x % 32, g = lane / 4, t = lane % 4 * 2;
  products.lanes++;
  for (unsigned k = 0; k < 16; k++)
    for (unsigned i = 0; i < 4; i++)
      c[i] += element_of_a(shown, g + i / 2 * 8, k) * element_of_b(shown, k, t + i % 2);
  wait_for_warp();
}

}  // namespace cudaemu
