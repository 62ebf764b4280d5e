/* Subnormal numbers count as zeros, in every thread: a text of one repeated word made steps forty times as
 * slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <omp.h>
#include <pthread.h>

#include "qgalore/backend.h"
#include "qgalore/base.h"

enum { THREADS = 3, SIDE = 64 };

static bool survive(void)
{
  volatile float small = 1e-20f, kept = 1e-40f;
  volatile double tiny = 1e-200, product = tiny * tiny * 1e80; /* 1e-320 */
  return small * small != 0.0f || kept * 2.0f != 0.0f || product != 0.0;
}

static void *in_thread(void *result)
{
  *(bool *)result = survive();
  return NULL;
}

static bool survive_in_a_new_thread(void)
{
  pthread_t thread;
  bool result = true;
  assert_int_equal(pthread_create(&thread, NULL, in_thread, &result), 0);
  pthread_join(thread, NULL);
  return result;
}

static int threads_where_they_survive(int threads)
{
  int count = 0;
#pragma omp parallel num_threads(threads) reduction(+ : count)
  count += survive();
  return count;
}

static qg_backend *open_cpu(void)
{
  qg_backend *be;
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = THREADS};
  assert_int_equal(qg_backend_open(&request, &be), QG_OK);
  return be;
}

/* Also in threads that were there before the backend, and in those that OpenMP adds to them later. */
static void a_backend_flushes_them_in_every_thread(void **state)
{
  (void)state;
#if defined(__x86_64__)
  assert_int_equal(threads_where_they_survive(THREADS), THREADS); /* else this test shows nothing */
#endif
  omp_set_num_threads(THREADS);
  qg_backend *be = open_cpu();
  assert_false(survive());
  assert_int_equal(threads_where_they_survive(THREADS), 0);
  assert_int_equal(threads_where_they_survive(THREADS + 2), 0);
  assert_false(survive_in_a_new_thread());
  qg_backend_close(be);
}

/* The threads of the BLAS library too. */
static void products_that_underflow_are_zeros(void **state)
{
  (void)state;
  static float a[SIDE * SIDE], c[SIDE * SIDE];
  qg_backend *be = open_cpu();
  for (int i = 0; i < SIDE * SIDE; i++) a[i] = 1e-20f, c[i] = 1.0f;
  qg_gemm_args args = {.alpha = 1.0f,
                       .a = qg_view_make(a, QG_F32, SIDE, SIDE),
                       .b = qg_view_make(a, QG_F32, SIDE, SIDE),
                       .c = qg_view_make(c, QG_F32, SIDE, SIDE)};
  assert_int_equal(be->ops->gemm(be, &args), QG_OK);
  for (int i = 0; i < SIDE * SIDE; i++) assert_true(c[i] == 0.0f);
  assert_false(survive());
  assert_int_equal(threads_where_they_survive(THREADS), 0);
  qg_backend_close(be);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_backend_flushes_them_in_every_thread),
      cmocka_unit_test(products_that_underflow_are_zeros),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
