/* The part of cmocka that the conformance suites use, so that make check-cuda needs nothing but compilers.
 * Same names and TAP output as cmocka's own. */
#ifndef QG_TESTS_CUDA_CMOCKA_H
#define QG_TESTS_CUDA_CMOCKA_H

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
  const char *name;
  CMUnitTestFunction test_func;
  CMFixtureFunction setup_func, teardown_func;
  void *initial_state;
};

#define cmocka_unit_test(f) \
  {                         \
#f, f, NULL, NULL, NULL \
  }

/* Ends the running test: verdict 1 failed, 2 skipped. */
void cmocka_end_test(int verdict, const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

#define skip() cmocka_end_test(2, __FILE__, __LINE__, "skipped")
#define fail_msg(...) cmocka_end_test(1, __FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x) ((x) ? (void)0 : cmocka_end_test(1, __FILE__, __LINE__, "%s", #x))
#define assert_false(x) assert_true(!(x))
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_int_equal(a, b) assert_true((a) == (b))
#define assert_memory_equal(a, b, bytes) assert_true(memcmp((a), (b), (bytes)) == 0)

/* Returns the number of failed tests. */
int cmocka_run_tests(const char *name, struct CMUnitTest *tests, int count);
#define cmocka_run_group_tests_name(name, tests, setup, teardown) \
  cmocka_run_tests(name, tests, (int)(sizeof(tests) / sizeof((tests)[0])))

#endif
