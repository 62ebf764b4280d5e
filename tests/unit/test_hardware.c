/* The GEMM rate of the log: a device is measured with products that keep it busy for long enough, a processor
 * with a small one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "app/hardware.h"

enum { REPEATS = 4, SIDES = 4 };

/* A device whose products take `milliseconds`, whatever their size. */
static struct {
  long milliseconds;
  int products;
  int64_t largest, taken; /* side; allocations that are not given back */
  int64_t filled;         /* elements */
} device;

static qg_status product(qg_backend *be, const qg_gemm_args *args)
{
  (void)be;
  const struct timespec work = {.tv_nsec = device.milliseconds * 1000000};
  if (device.milliseconds > 0) nanosleep(&work, NULL);
  device.products++;
  device.largest = args->c.rows;
  return QG_OK;
}

static qg_status no_memory(qg_backend *be, size_t bytes, void **out)
{
  (void)be, (void)bytes;
  device.taken++;
  *out = &device;
  return QG_OK;
}

/* Nothing is multiplied that is all zeros. */
static qg_status filled(qg_backend *be, void *to, const void *from, size_t bytes)
{
  (void)be, (void)to;
  const float *x = from;
  assert_true(bytes >= 4 * sizeof *x);
  for (int i = 0; i < 4; i++) assert_true(x[i] != 0.0f && x[i] > -1.0f && x[i] < 1.0f);
  device.filled += (int64_t)(bytes / sizeof *x);
  return QG_OK;
}

static void no_release(qg_backend *be, void *memory, size_t bytes)
{
  (void)be, (void)memory, (void)bytes;
  device.taken--;
}

static size_t no_scratch(qg_backend *be, const qg_workload *workload)
{
  (void)be, (void)workload;
  return 1;
}

static void set_no_scratch(qg_backend *be, void *memory, size_t bytes)
{
  (void)be, (void)memory, (void)bytes;
}

static qg_status no_wait(qg_backend *be)
{
  (void)be;
  return QG_OK;
}

static double measure(bool unified, long milliseconds)
{
  const qg_backend_ops ops = {.unified_memory = unified,
                              .alloc = no_memory,
                              .release = no_release,
                              .copy_in = filled,
                              .workspace_bytes = no_scratch,
                              .set_workspace = set_no_scratch,
                              .sync = no_wait,
                              .gemm = product};
  qg_backend be = {.ops = &ops};
  double flops;
  device.milliseconds = milliseconds;
  device.products = 0;
  device.filled = 0;
  assert_int_equal(qg_hardware_gemm_rate(&be, &flops), QG_OK);
  assert_int_equal(device.taken, 0);
  return flops;
}

static void a_fast_device_gets_larger_products(void **state)
{
  (void)state;
  measure(false, 0);
  assert_int_equal(device.products, SIDES * REPEATS);
  assert_int_equal(device.largest, 8192);
}

static void a_slow_device_and_a_processor_get_a_small_one(void **state)
{
  (void)state;
  for (int processor = 0; processor < 2; processor++) {
    assert_true(measure(processor, processor ? 0 : 2) > 0.0);
    assert_int_equal(device.products, REPEATS);
    assert_int_equal(device.largest, 1024);
    assert_int_equal(device.filled, 2 * 1024 * 1024);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_fast_device_gets_larger_products),
      cmocka_unit_test(a_slow_device_and_a_processor_get_a_small_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
