/* Streams and graphs of the emulation: what no event orders happens in any order, so that a missing wait is
 * found, and a capture takes what CUDA takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include "cuda_runtime.h"

enum { THREADS = 64, SEEDS = 20, ROUNDS = 3 };

__global__ void k_set(int *out, int value)
{
  out[threadIdx.x] = value;
}

/* Unsigned, because one that comes too early adds whatever the memory was filled with. */
__global__ void k_add(int *out, const int *in)
{
  out[threadIdx.x] =
      static_cast<int>(static_cast<unsigned>(out[threadIdx.x]) + static_cast<unsigned>(in[threadIdx.x]));
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

/* sum += 5 as a graph of two streams, launched ROUNDS times. */
static void a_graph_repeats_what_was_captured(void **)
{
  int host[THREADS];
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  two_streams t = open_streams();
  cudaMemsetAsync(t.sum, 0, sizeof host, t.adds);
  cudaStreamBeginCapture(t.adds, cudaStreamCaptureModeThreadLocal);
  cudaEventRecord(t.added, t.adds);
  cudaStreamWaitEvent(t.fills, t.added, 0);
  launch_on(t.fills, k_set, t.operand, 5);
  cudaEventRecord(t.filled, t.fills);
  cudaStreamWaitEvent(t.adds, t.filled, 0);
  launch_on(t.adds, k_add, t.sum, static_cast<const int *>(t.operand));
  assert_int_equal(cudaStreamEndCapture(t.adds, &graph), cudaSuccess);
  assert_int_equal(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int round = 0; round < ROUNDS; round++)
    assert_int_equal(cudaGraphLaunch(executable, t.adds), cudaSuccess);
  cudaMemcpyAsync(host, t.sum, sizeof host, cudaMemcpyDeviceToHost, t.adds);
  cudaStreamSynchronize(t.adds);
  for (int x : host) assert_int_equal(x, 5 * ROUNDS);
  cudaGraphDestroy(graph);
  cudaGraphExecDestroy(executable);
  close_streams(t);
}

static void a_capture_refuses_what_cuda_refuses(void **)
{
  cudaGraph_t graph = nullptr;
  two_streams t = open_streams();
  cudaEventRecord(t.filled, t.fills);
  cudaStreamBeginCapture(t.adds, cudaStreamCaptureModeThreadLocal);
  assert_int_equal(cudaStreamWaitEvent(t.adds, t.filled, 0), cudaErrorStreamCaptureIsolation);
  assert_int_equal(cudaStreamSynchronize(t.adds), cudaErrorStreamCaptureUnsupported);
  cudaEventRecord(t.added, t.adds);
  cudaStreamWaitEvent(t.fills, t.added, 0);
  launch_on(t.fills, k_set, t.operand, 5);
  assert_int_equal(cudaStreamEndCapture(t.adds, &graph), cudaErrorStreamCaptureUnjoined);
  assert_int_equal(cudaStreamWaitEvent(t.fills, t.added, 0), cudaErrorCapturedEvent);
  cudaGraphDestroy(graph);
  close_streams(t);
}

int main()
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_turns_of_streams_find_a_missing_wait),
      cmocka_unit_test(streams_that_wait_for_each_other_are_right_in_every_order),
      cmocka_unit_test(work_waits_until_the_host_does),
      cmocka_unit_test(a_graph_repeats_what_was_captured),
      cmocka_unit_test(a_capture_refuses_what_cuda_refuses),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
