/* What a child process hands back, and that its crash is an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>

#include "qgalore/base/subprocess.h"

static int here; /* a child that changes it changes its own */

static qg_status add_one(const void *given, void *result)
{
  here = 7;
  *(int *)result = *(const int *)given + 1;
  return QG_OK;
}

static qg_status refuse(const void *given, void *result)
{
  (void)given;
  *(int *)result = 99;
  return QG_FAIL(QG_ERR_INPUT, "refused for a reason");
}

static qg_status crash(const void *given, void *result)
{
  (void)result;
  raise(*(const int *)given);
  return QG_OK;
}

static qg_status run(qg_subprocess_task task, int given, int *result, bool *answered)
{
  return qg_subprocess_run(task, &given, sizeof given, result, sizeof *result, answered);
}

static void a_task_hands_back_its_result_and_nothing_else(void **state)
{
  (void)state;
  int result = 0;
  bool answered = false;
  assert_int_equal(run(add_one, 41, &result, &answered), QG_OK);
  assert_true(answered);
  assert_int_equal(result, 42);
  assert_int_equal(here, 0);
}

static void its_failure_travels_with_its_message(void **state)
{
  (void)state;
  int result = 0;
  bool answered = false;
  assert_int_equal(run(refuse, 0, &result, &answered), QG_ERR_INPUT);
  assert_true(answered);
  assert_non_null(strstr(qg_error_message(), "refused for a reason"));
}

static void a_crash_is_no_answer_and_no_failure_of_ours(void **state)
{
  (void)state;
  static const int signals[] = {SIGSEGV, SIGABRT, SIGKILL};
  for (int i = 0; i < 3; i++) {
    int result = 5;
    bool answered = true;
    assert_int_equal(run(crash, signals[i], &result, &answered), QG_OK);
    assert_false(answered);
    assert_int_equal(result, 5);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_task_hands_back_its_result_and_nothing_else),
      cmocka_unit_test(its_failure_travels_with_its_message),
      cmocka_unit_test(a_crash_is_no_answer_and_no_failure_of_ours),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
