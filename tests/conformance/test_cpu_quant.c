/* The quantised-state operations of the CPU backend on every instruction set of this processor. The level is
 * chosen once per process, so each runs in a child of its own; the parent opens no backend, and so has no
 * threads when it forks. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/suites/adam_conformance.h"
#include "support/suites/quant_conformance.h"
#include "qgalore/base.h"

static int run_level(const char *level)
{
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = 2};
  qg_backend *be = NULL;
  setenv("QGALORE_CPU_ISA", level, 1);
  if (qg_backend_open(&request, &be) != QG_OK) {
    fprintf(stderr, "%s: %s\n", level, qg_error_message());
    return 1;
  }
  int failures = quant_conformance_run(be, be->description) + adam_conformance_run(be, be->description);
  qg_backend_close(be);
  return failures != 0;
}

/* true if the child left with 0. */
static bool passes_in_a_child(const char *level)
{
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) exit(run_level(level));
  int result = 1;
  return child > 0 && waitpid(child, &result, 0) == child && WIFEXITED(result) && WEXITSTATUS(result) == 0;
}

int main(void)
{
  static const char *const levels[] = {"v2", "v3", "v4"};
  int failed = 0;
  for (int i = 0; i < QG_COUNT_OF(levels); i++)
    if (!passes_in_a_child(levels[i])) {
      fprintf(stderr, "level %s failed\n", levels[i]);
      failed++;
    }
  return failed;
}
