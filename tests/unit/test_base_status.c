/* Promises of failures: one message, the trace of the way up, and fault points that kill where they are told
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qgalore/base/fault.h"
#include "qgalore/base/status.h"

static qg_status inner(void)
{
  return QG_FAIL(QG_ERR_INPUT, "line %d: no such key", 12);
}

static qg_status outer(void)
{
  QG_TRY(inner());
  return QG_OK;
}

static void a_failure_carries_message_code_and_trace(void **state)
{
  (void)state;
  assert_int_equal(outer(), QG_ERR_INPUT);
  assert_string_equal(qg_error_message(), "line 12: no such key");
  const char *in = strstr(qg_error_trace(), "at inner"), *out = strstr(qg_error_trace(), "at outer");
  assert_non_null(in);
  assert_non_null(out);
  assert_true(in < out);
}

static void a_second_failure_replaces_the_first(void **state)
{
  (void)state;
  (void)outer();
  assert_int_equal(QG_FAIL(QG_ERR_RUNTIME, "other"), QG_ERR_RUNTIME);
  assert_string_equal(qg_error_message(), "other");
  assert_null(strstr(qg_error_trace(), "inner"));
}

static void a_recovered_failure_can_be_forgotten(void **state)
{
  (void)state;
  (void)outer();
  qg_error_clear();
  assert_string_equal(qg_error_message(), "");
  assert_string_equal(qg_error_trace(), "");
}

static void another_ranks_failure_can_be_adopted(void **state)
{
  (void)state;
  (void)outer();
  assert_int_equal(qg_error_adopt(QG_ERR_RESOURCE, "rank 3: disk full"), QG_ERR_RESOURCE);
  assert_string_equal(qg_error_message(), "rank 3: disk full");
  assert_string_equal(qg_error_trace(), "");
}

/* How often a child with QGALORE_FAULT=`setting` passes the point "checkpoint.data" before it is killed; 3 if
 * it is not. */
static int passages_survived(const char *setting)
{
  int counts[2], survived = 0, status;
  char byte = 0;
  assert_int_equal(pipe(counts), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    setenv("QGALORE_FAULT", setting, 1);
    for (int i = 0; i < 3; i++) {
      qg_fault("checkpoint.renamed");
      qg_fault("checkpoint.data");
      if (write(counts[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  close(counts[1]);
  while (read(counts[0], &byte, 1) == 1) survived++;
  close(counts[0]);
  assert_true(waitpid(child, &status, 0) == child);
  assert_true(survived == 3 ? WIFEXITED(status) : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return survived;
}

static void a_fault_point_kills_at_its_passage_only(void **state)
{
  (void)state;
  assert_int_equal(passages_survived(""), 3);
  assert_int_equal(passages_survived("checkpoint"), 3);
  assert_int_equal(passages_survived("checkpoint.data2"), 3);
  assert_int_equal(passages_survived("checkpoint.data"), 0);
  assert_int_equal(passages_survived("checkpoint.data:1"), 0);
  assert_int_equal(passages_survived("checkpoint.data:3"), 2);
  assert_int_equal(passages_survived("checkpoint.data:4"), 3);
}

static void a_fault_may_stay_at_numbers(void **state)
{
  (void)state;
  setenv("QGALORE_FAULT", "gradient@7,12", 1);
  for (int round = 0; round < 2; round++)
    for (int64_t step = 0; step < 20; step++)
      assert_int_equal(qg_fault_is_injected_at("gradient", step), step == 7 || step == 12);
  assert_false(qg_fault_is_injected_at("grad", 7));
  assert_false(qg_fault_is_injected_at("gradient@7", 12));
  assert_false(qg_fault_is_injected("gradient"));
  unsetenv("QGALORE_FAULT");
  assert_false(qg_fault_is_injected_at("gradient", 7));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_failure_carries_message_code_and_trace),
      cmocka_unit_test(a_second_failure_replaces_the_first),
      cmocka_unit_test(a_recovered_failure_can_be_forgotten),
      cmocka_unit_test(another_ranks_failure_can_be_adopted),
      cmocka_unit_test(a_fault_point_kills_at_its_passage_only),
      cmocka_unit_test(a_fault_may_stay_at_numbers),
  };
  return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
