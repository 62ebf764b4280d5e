/* The emulation finds what it is there to find: missing barriers, missing waits between streams, accesses out
 * of bounds, hosts that touch device memory. The planted mistakes are those of real kernels. */
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

__global__ void k_set(int *out, int value)
{
  out[threadIdx.x] = value;
}

__global__ void k_add(int *out, const int *in)
{
  out[threadIdx.x] += in[threadIdx.x];
}

template <typename... Params, typename... Args>
static void launch_on(cudaStream_t stream, void (*kernel)(Params...), Args... args)
{
  cudaLaunchConfig_t config = {dim3(1), dim3(THREADS), 0, stream};
  assert_int_equal(cudaLaunchKernelEx(&config, kernel, args...), cudaSuccess);
}

struct two_streams {
  cudaStream_t fills, adds;
  cudaEvent_t filled, added;
  int *operand, *sum;
};

static two_streams open_streams()
{
  two_streams t = {};
  cudaStreamCreateWithFlags(&t.fills, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&t.adds, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&t.filled, cudaEventDisableTiming);
  cudaEventCreateWithFlags(&t.added, cudaEventDisableTiming);
  cudaMalloc(reinterpret_cast<void **>(&t.operand), THREADS * sizeof(int));
  cudaMalloc(reinterpret_cast<void **>(&t.sum), THREADS * sizeof(int));
  return t;
}

static void close_streams(const two_streams &t)
{
  cudaFree(t.operand);
  cudaFree(t.sum);
  cudaEventDestroy(t.filled);
  cudaEventDestroy(t.added);
  cudaStreamDestroy(t.fills);
  cudaStreamDestroy(t.adds);
}

/* One stream fills an operand that the other adds, again and again: each has to wait for the other. */
static bool streams_agree(unsigned seed, bool waits_for_fill, bool waits_for_sum)
{
  int host[THREADS], expected = 0, wrong = 0;
  cudaemu::set_stream_seed(seed);
  two_streams t = open_streams();
  cudaMemsetAsync(t.sum, 0, sizeof host, t.adds);
  for (int round = 0; round < ROUNDS; round++) {
    if (waits_for_sum) cudaStreamWaitEvent(t.fills, t.added, 0);
    launch_on(t.fills, k_set, t.operand, round + 1);
    cudaEventRecord(t.filled, t.fills);
    if (waits_for_fill) cudaStreamWaitEvent(t.adds, t.filled, 0);
    launch_on(t.adds, k_add, t.sum, static_cast<const int *>(t.operand));
    cudaEventRecord(t.added, t.adds);
    expected += round + 1;
  }
  cudaMemcpyAsync(host, t.sum, sizeof host, cudaMemcpyDeviceToHost, t.adds);
  cudaStreamSynchronize(t.adds);
  for (int x : host) wrong += x != expected;
  close_streams(t);
  cudaemu::set_stream_seed(0);
  return wrong == 0;
}

static int seeds_that_find(bool waits_for_fill, bool waits_for_sum)
{
  int found = 0;
  for (unsigned seed = 1; seed <= SEEDS; seed++) found += !streams_agree(seed, waits_for_fill, waits_for_sum);
  return found;
}

static void random_turns_of_streams_find_a_missing_wait(void **)
{
  assert_true(seeds_that_find(false, true) > 0);
  assert_true(seeds_that_find(true, false) > 0);
}

static void streams_that_wait_for_each_other_are_right_in_every_order(void **)
{
  assert_int_equal(seeds_that_find(true, true), 0);
}

static void work_waits_until_the_host_does(void **)
{
  int host[THREADS] = {0};
  cudaemu::set_stream_seed(1);
  two_streams t = open_streams();
  launch_on(t.fills, k_set, t.operand, 7);
  cudaMemcpyAsync(host, t.operand, sizeof host, cudaMemcpyDeviceToHost, t.fills);
  cudaEventRecord(t.filled, t.fills);
  assert_int_equal(host[0], 0);
  while (cudaEventQuery(t.filled) == cudaErrorNotReady) continue;
  assert_int_equal(host[0], 7);
  close_streams(t);
  cudaemu::set_stream_seed(0);
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

static void an_access_out_of_bounds_is_found(void **)
{
#ifdef __SANITIZE_ADDRESS__
  int state = end_of_child(write_too_far);
  assert_false(WIFEXITED(state) && WEXITSTATUS(state) == 0);
#else
  (void)write_too_far;
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
      cmocka_unit_test(random_turns_of_streams_find_a_missing_wait),
      cmocka_unit_test(streams_that_wait_for_each_other_are_right_in_every_order),
      cmocka_unit_test(work_waits_until_the_host_does),
      cmocka_unit_test(a_barrier_that_not_all_threads_reach_ends_the_program),
      cmocka_unit_test(a_host_that_reads_device_memory_is_stopped),
      cmocka_unit_test(an_access_out_of_bounds_is_found),
      cmocka_unit_test(ballots_count_the_votes_of_a_warp),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
