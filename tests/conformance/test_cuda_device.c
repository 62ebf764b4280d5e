/* What the CUDA backend tells about its device besides results: time, memory, and who failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/fixtures/cuda_device.h"

enum { PHASES = 3, BYTES = 1 << 20, MANY = 10000 };

/* Something for the device to do. */
static void work(qg_backend *be, void *memory)
{
  assert_int_equal(be->ops->zero(be, memory, BYTES), QG_OK);
}

static void *take(qg_backend *be)
{
  void *memory;
  assert_int_equal(be->ops->alloc(be, BYTES, &memory), QG_OK);
  return memory;
}

static void read_clock(qg_backend *be, double *seconds)
{
  assert_int_equal(be->ops->clock_read(be, seconds, PHASES), QG_OK);
}

static void the_devices_time_goes_to_the_phase_that_queued_the_work(void **state)
{
  qg_backend *be = *state;
  double seconds[PHASES] = {0};
  void *memory = take(be);
  be->ops->clock_begin(be, "outer", 0);
  work(be, memory);
  be->ops->clock_begin(be, "inner", 1);
  work(be, memory);
  be->ops->clock_end(be, 0);
  be->ops->clock_end(be, -1);
  read_clock(be, seconds);
  assert_true(seconds[0] > 0 && seconds[1] > 0);
  assert_true(seconds[2] == 0);
  be->ops->release(be, memory, BYTES);
}

static void a_reading_is_added_once(void **state)
{
  qg_backend *be = *state;
  double first[PHASES] = {0}, second[PHASES] = {0};
  void *memory = take(be);
  be->ops->clock_begin(be, "phase", 2);
  work(be, memory);
  be->ops->clock_end(be, -1);
  read_clock(be, first);
  assert_true(first[2] > 0);
  work(be, memory);
  read_clock(be, second);
  for (int p = 0; p < PHASES; p++) assert_true(second[p] == 0);
  be->ops->release(be, memory, BYTES);
}

/* The ring is as long as it was made; what comes after goes on the account of its last mark. */
static void more_marks_than_there_are_places_are_no_error(void **state)
{
  qg_backend *be = *state;
  double seconds[PHASES] = {0};
  for (int i = 0; i < MANY; i++) {
    be->ops->clock_begin(be, "phase", i % 2);
    be->ops->clock_end(be, -1);
  }
  read_clock(be, seconds);
  assert_true(seconds[0] > 0 && seconds[1] > 0);
}

static void an_allocation_leaves_less_memory(void **state)
{
  qg_backend *be = *state;
  size_t before, after, total;
  assert_int_equal(be->ops->memory_info(be, &before, &total), QG_OK);
  assert_true(before <= total && be->share.margin <= be->share.allowance);
  void *memory = NULL;
  assert_int_equal(be->ops->alloc(be, 64 * BYTES, &memory), QG_OK);
  assert_int_equal(be->ops->memory_info(be, &after, &total), QG_OK);
  assert_true(before - after >= 64 * BYTES);
  be->ops->release(be, memory, 64 * BYTES);
}

/* A stride of -1 is no matrix to cuBLAS either. */
static void a_failed_call_names_call_place_device_and_tensor(void **state)
{
  qg_backend *be = *state;
  qg_view square = qg_view_make(NULL, QG_F32, 4, 4);
  qg_gemm_args args = {.a = square, .b = square, .c = square, .alpha = 1.0f};
  args.c.stride = -1;
  qg_backend_name(be, "model.layers.3.mlp.up_proj.weight");
  assert_int_equal(be->ops->gemm(be, &args), QG_ERR_RUNTIME);
  const char *message = qg_error_message();
  assert_non_null(strstr(message, "cuda/gemm.c:"));
  assert_non_null(strstr(message, " failed on device 0 ("));
  assert_non_null(strstr(message, "), tensor model.layers.3.mlp.up_proj.weight: "));
  qg_error_clear();
  qg_backend_name(be, NULL);
}

int main(void)
{
  qg_backend *be = open_cuda("fp32");
  if (!be) return 1;
  struct CMUnitTest tests[] = {
      cmocka_unit_test(the_devices_time_goes_to_the_phase_that_queued_the_work),
      cmocka_unit_test(a_reading_is_added_once),
      cmocka_unit_test(more_marks_than_there_are_places_are_no_error),
      cmocka_unit_test(an_allocation_leaves_less_memory),
      cmocka_unit_test(a_failed_call_names_call_place_device_and_tensor),
  };
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) tests[i].initial_state = be;
  int failures = cmocka_run_group_tests_name(be->description, tests, NULL, NULL);
  be->close(be);
  return failures;
}
