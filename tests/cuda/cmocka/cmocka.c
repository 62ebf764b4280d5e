#include "cmocka.h"

#include <stdarg.h>
#include <stdio.h>

static jmp_buf end_of_test;
static char message[1024];

void cmocka_end_test(int verdict, const char *file, int line, const char *format, ...)
{
  va_list arguments;
  int used = snprintf(message, sizeof message, "%s:%d: ", file, line);
  va_start(arguments, format);
  vsnprintf(message + used, sizeof message - (size_t)used, format, arguments);
  va_end(arguments);
  longjmp(end_of_test, verdict);
}

/* 0 passed, 1 failed, 2 skipped. */
static int run_test(struct CMUnitTest *test)
{
  void *state = test->initial_state;
  int verdict = setjmp(end_of_test);
  if (verdict == 0) test->test_func(&state);
  return verdict;
}

int cmocka_run_tests(const char *name, struct CMUnitTest *tests, int count)
{
  int failed = 0;
  printf("# %s\n1..%d\n", name, count);
  for (int i = 0; i < count; i++) {
    int verdict = run_test(&tests[i]);
    if (tests[i].teardown_func) tests[i].teardown_func(&tests[i].initial_state);
    failed += verdict == 1;
    printf("%sok %d - %s%s\n", verdict == 1 ? "not " : "", i + 1, tests[i].name,
           verdict == 2 ? " # SKIP" : "");
    if (verdict == 1) printf("# %s\n", message);
    fflush(stdout);
  }
  return failed;
}
