/* The emulation finds what it is there to find: missing barriers, accesses out of bounds, hosts that touch
 * device memory. The planted mistakes are those of real kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <cstdlib>

#include "child.h"
#include "cuda_runtime.h"

enum { THREADS = 128, WARPS = THREADS / 32, SEEDS = 20, ROUNDS = 3 };

/* Sums over the block, several times through the same shared memory. Without the last barrier a warp that
 * runs ahead writes its next part over one that another warp still has to read. */
template <bool WITH_BARRIER>
__global__ void k_sums(int *out)
{
  __shared__ int parts[WARPS];
  for (int round = 0; round < ROUNDS; round++) {
    int x = static_cast<int>(threadIdx.x) * (round + 1);
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    int sum = 0;
    for (int w = 0; w < WARPS; w++) sum += parts[w];
    out[round * THREADS + threadIdx.x] = sum;
    if (WITH_BARRIER) __syncthreads();
  }
}

static void launch(void (*kernel)(int *), int *out)
{
  cudaLaunchConfig_t config = {dim3(1), dim3(THREADS), 0, nullptr};
  assert_int_equal(cudaLaunchKernelEx(&config, kernel, out), cudaSuccess);
}

static bool sums_are_right(void (*kernel)(int *), unsigned seed)
{
  int host[ROUNDS * THREADS], wrong = 0;
  void *device = nullptr;
  assert_int_equal(cudaMalloc(&device, sizeof host), cudaSuccess);
  cudaemu::set_seed(seed);
  launch(kernel, static_cast<int *>(device));
  cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, nullptr);
  cudaFree(device);
  for (int i = 0; i < ROUNDS * THREADS; i++)
    wrong += host[i] != THREADS * (THREADS - 1) / 2 * (i / THREADS + 1);
  return wrong == 0;
}

static void random_schedules_find_a_missing_barrier(void **)
{
  int found = 0;
  for (unsigned seed = 1; seed <= SEEDS; seed++) found += !sums_are_right(k_sums<false>, seed);
  assert_true(found > 0);
}

static void threads_in_turns_do_not_find_it(void **)
{
  assert_true(sums_are_right(k_sums<false>, 0));
}

static void a_right_kernel_is_right_in_every_schedule(void **)
{
  for (unsigned seed = 0; seed <= SEEDS; seed++) assert_true(sums_are_right(k_sums<true>, seed));
}

__global__ void k_divergent(int *)
{
  if (threadIdx.x == 0) __syncthreads();
  else if (threadIdx.x < 32)
    __syncwarp();
}

static void run_divergent()
{
  launch(k_divergent, nullptr);
}

static void a_barrier_that_not_all_threads_reach_ends_the_program(void **)
{
  assert_true(WIFSIGNALED(end_of_child(run_divergent)));
}

/* The last warp's threads return one after the other, which an odd number of elements asks for. */
__global__ void k_shuffle_of_some(int *out)
{
  if (threadIdx.x >= THREADS - 5) return;
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 16);
}

static void run_shuffle_of_some()
{
  void *device = nullptr;
  cudaMalloc(&device, THREADS * sizeof(int));
  launch(k_shuffle_of_some, static_cast<int *>(device));
}

static void a_shuffle_that_misses_threads_ends_the_program(void **)
{
  assert_true(WIFSIGNALED(end_of_child(run_shuffle_of_some)));
}

enum { BLOCKS = 8 };

/* Whether a block sees what the one before wrote: into memory, or into shared memory that it does not clear.
 */
__global__ void k_after_another(int *out)
{
  __shared__ int kept;
  if (threadIdx.x != 0) return;
  out[blockIdx.x] = blockIdx.x > 0 && out[blockIdx.x - 1] >= 0 ? 1 : 0;
  out[BLOCKS + blockIdx.x] = kept == 42;
  kept = 42;
}

/* How many blocks saw it. */
static void run_after_another(unsigned seed, int *in_memory, int *in_shared)
{
  int host[2 * BLOCKS];
  void *device = nullptr;
  assert_int_equal(cudaMalloc(&device, sizeof host), cudaSuccess);
  cudaMemsetAsync(device, 0xff, sizeof host, nullptr);
  cudaemu::set_seed(seed);
  cudaLaunchConfig_t config = {dim3(BLOCKS), dim3(THREADS), 0, nullptr};
  assert_int_equal(cudaLaunchKernelEx(&config, k_after_another, static_cast<int *>(device)), cudaSuccess);
  cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, nullptr);
  cudaFree(device);
  *in_memory = *in_shared = 0;
  for (int i = 0; i < BLOCKS; i++) *in_memory += host[i], *in_shared += host[BLOCKS + i];
}

static void random_schedules_find_blocks_that_need_an_order(void **)
{
  int in_memory, in_shared;
  run_after_another(0, &in_memory, &in_shared);
  assert_int_equal(in_memory, BLOCKS - 1);
  run_after_another(1, &in_memory, &in_shared);
  assert_true(in_memory < BLOCKS - 1);
}

static void static_shared_memory_does_not_outlive_its_block(void **)
{
  int in_memory, in_shared;
  run_after_another(0, &in_memory, &in_shared);
  assert_int_equal(in_shared, 0);
}

static void read_on_the_host()
{
  void *device = nullptr;
  cudaMalloc(&device, 100);
  fprintf(stderr, "%d", *static_cast<volatile char *>(device));
}

static void a_host_that_reads_device_memory_is_stopped(void **)
{
  int state = end_of_child(read_on_the_host);
  assert_false(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}

__global__ void k_too_far(int *out)
{
  out[threadIdx.x + 1] = 0;
}

static void write_too_far()
{
  void *device = nullptr;
  cudaMalloc(&device, THREADS * sizeof(int));
  launch(k_too_far, static_cast<int *>(device));
}

__global__ void k_too_far_in_shared(int *)
{
  __shared__ volatile int few[WARPS];
  few[threadIdx.x % (WARPS + 1)] = few[0];
}

static void write_too_far_in_shared()
{
  launch(k_too_far_in_shared, nullptr);
}

static void an_access_out_of_bounds_is_found(void **)
{
#ifdef __SANITIZE_ADDRESS__
  void (*const mistakes[])() = {write_too_far, write_too_far_in_shared};
  for (auto mistake : mistakes) {
    int state = end_of_child(mistake);
    assert_false(WIFEXITED(state) && WEXITSTATUS(state) == 0);
  }
#else
  (void)write_too_far;
  (void)write_too_far_in_shared;
  skip();
#endif
}

__global__ void k_ballot(int *out)
{
  out[threadIdx.x] = __popc(__ballot_sync(0xffffffffu, threadIdx.x % 3 == 0));
}

static void ballots_count_the_votes_of_a_warp(void **)
{
  int host[THREADS];
  void *device = nullptr;
  assert_int_equal(cudaMalloc(&device, sizeof host), cudaSuccess);
  launch(k_ballot, static_cast<int *>(device));
  cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, nullptr);
  cudaFree(device);
  for (int i = 0; i < THREADS; i++) {
    int votes = 0;
    for (int k = i / 32 * 32; k < i / 32 * 32 + 32; k++) votes += k % 3 == 0;
    assert_int_equal(host[i], votes);
  }
}

int main()
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_schedules_find_a_missing_barrier),
      cmocka_unit_test(threads_in_turns_do_not_find_it),
      cmocka_unit_test(a_right_kernel_is_right_in_every_schedule),
      cmocka_unit_test(a_barrier_that_not_all_threads_reach_ends_the_program),
      cmocka_unit_test(a_shuffle_that_misses_threads_ends_the_program),
      cmocka_unit_test(random_schedules_find_blocks_that_need_an_order),
      cmocka_unit_test(static_shared_memory_does_not_outlive_its_block),
      cmocka_unit_test(a_host_that_reads_device_memory_is_stopped),
      cmocka_unit_test(an_access_out_of_bounds_is_found),
      cmocka_unit_test(ballots_count_the_votes_of_a_warp),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
