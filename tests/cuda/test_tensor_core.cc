/* The emulated matrix instructions multiply matrices, and what only they can do wrong is found: operands that
 * are not aligned, copies that nobody waited for, more shared memory than a kernel may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <cmath>

#include "child.h"
#include "cuda/kernels/tensor_core.cuh"
#include "cuda/kernels/vectorized.cuh"

enum { SIDE = 16, BYTES = 2 * SIDE * SIDE * 2 };

/* x [16, 16] and y [16, 16] into shared memory, one part a lane. */
static void stage_operands(const bf16 *x, const bf16 *y)
{
  bf16 *shared = reinterpret_cast<bf16 *>(shared_memory());
  int at = static_cast<int>(threadIdx.x) * PART;
  copy_async(shared + at, x + at, true);
  copy_async(shared + SIDE * SIDE + at, y + at, true);
  commit_copies();
}

/* out [16, 16] = x y, or x y^T, as cuda/kernels/attention_tiles.cuh reads its operands. */
template <bool TRANSPOSED, bool WAITS>
__global__ void k_product(const bf16 *x, const bf16 *y, float *out)
{
  int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4 * 2;
  const bf16 *a = reinterpret_cast<const bf16 *>(shared_memory()), *b = a + SIDE * SIDE;
  uint32_t of_a[4], of_b[4];
  float c[2][4] = {};
  stage_operands(x, y);
  if (WAITS) wait_for_copies<0>();
  __syncwarp();
  load_matrices(of_a, a + lane % 16 * SIDE + lane / 16 * 8);
  if (TRANSPOSED) load_matrices(of_b, b + (lane % 8 + lane / 16 * 8) * SIDE + lane / 8 % 2 * 8);
  else
    load_transposed(of_b, b + lane % 16 * SIDE + lane / 16 * 8);
  for (int n = 0; n < 2; n++) {
    multiply_add(c[n], of_a, of_b[2 * n], of_b[2 * n + 1]);
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * SIDE + 8 * n + t + i % 2] = c[n][i];
  }
}

typedef void (*product_kernel)(const bf16 *, const bf16 *, float *);

struct matrices {
  bf16 x[SIDE * SIDE], y[SIDE * SIDE];
  float out[SIDE * SIDE];
};

/* Small integers, different in every row and column: products and sums are exact. */
static void fill(matrices *m)
{
  for (int i = 0; i < SIDE * SIDE; i++) {
    put(&m->x[i], static_cast<float>(i * 7 % 31 - 15));
    put(&m->y[i], static_cast<float>(i * 11 % 29 - 14));
  }
}

static void multiply(matrices *m, product_kernel kernel)
{
  void *memory = nullptr;
  assert_int_equal(cudaMalloc(&memory, sizeof *m), cudaSuccess);
  cudaMemcpyAsync(memory, m, sizeof *m, cudaMemcpyHostToDevice, nullptr);
  matrices *device = static_cast<matrices *>(memory);
  assert_int_equal(
      launch_shared(nullptr, 1, WARP, BYTES, kernel, &device->x[0], &device->y[0], &device->out[0]),
      cudaSuccess);
  cudaMemcpyAsync(m, memory, sizeof *m, cudaMemcpyDeviceToHost, nullptr);
  cudaFree(memory);
}

static float element_of_product(const matrices *m, int i, int j, bool transposed)
{
  float sum = 0.0f;
  for (int k = 0; k < SIDE; k++)
    sum += value(m->x[i * SIDE + k]) * value(m->y[transposed ? j * SIDE + k : k * SIDE + j]);
  return sum;
}

static void check_product(product_kernel kernel, bool transposed)
{
  matrices m;
  for (unsigned seed = 0; seed < 3; seed++) {
    cudaemu::set_seed(seed);
    fill(&m);
    multiply(&m, kernel);
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++)
        assert_true(m.out[i * SIDE + j] == element_of_product(&m, i, j, transposed));
  }
  cudaemu::set_seed(0);
}

static void fragments_of_rows_and_columns_multiply(void **)
{
  check_product(k_product<false, true>, false);
  check_product(k_product<true, true>, true);
}

static void copies_that_nobody_waited_for_are_missing(void **)
{
  matrices m;
  fill(&m);
  multiply(&m, k_product<false, false>);
  assert_true(std::isnan(m.out[0]));
}

/* ldmatrix reads rows of 16 bytes. */
__global__ void k_unaligned(uint32_t *out)
{
  uint32_t of_lane[4];
  load_matrices(of_lane, reinterpret_cast<const bf16 *>(shared_memory()) + 1);
  out[threadIdx.x] = of_lane[0];
}

static void run_unaligned()
{
  void *out = nullptr;
  cudaMalloc(&out, WARP * sizeof(uint32_t));
  launch_shared(nullptr, 1, WARP, BYTES, k_unaligned, static_cast<uint32_t *>(out));
}

static void rows_that_are_not_aligned_end_the_program(void **)
{
  assert_true(WIFSIGNALED(end_of_child(run_unaligned)));
}

__global__ void k_shared(float *)
{
}

static void a_kernel_asks_for_more_than_48_kb(void **)
{
  cudaLaunchConfig_t config = {dim3(1), dim3(WARP), 64 << 10, nullptr};
  float *nothing = nullptr;
  assert_int_equal(cudaLaunchKernelEx(&config, k_shared, nothing), cudaErrorInvalidValue);
  assert_int_equal(launch_shared(nullptr, 1, WARP, 64 << 10, k_shared, nothing), cudaSuccess);
  assert_int_equal(launch_shared(nullptr, 1, WARP, 228 << 10, k_shared, nothing), cudaErrorInvalidValue);
}

int main()
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fragments_of_rows_and_columns_multiply),
      cmocka_unit_test(copies_that_nobody_waited_for_are_missing),
      cmocka_unit_test(rows_that_are_not_aligned_end_the_program),
      cmocka_unit_test(a_kernel_asks_for_more_than_48_kb),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
