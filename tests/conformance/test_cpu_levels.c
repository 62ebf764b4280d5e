/* The CPU backend keeps its promises on the instruction sets of older processors too. The level is chosen
 * once per process, so each runs in a child. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/conformance.h"

static int run_precision(const char *precision)
{
  qg_backend *be;
  qg_backend_request request = {.name = "cpu", .precision = precision, .threads = 2};
  if (qg_backend_open(&request, &be) != QG_OK) {
    fprintf(stderr, "%s\n", qg_error_message());
    return 1;
  }
  int failures = qg_conformance_run(be);
  qg_backend_close(be);
  return failures;
}

static int run_child(const char *level)
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    setenv("QGALORE_CPU_ISA", level, 1);
    int failed = run_precision("fp32") + run_precision("bf16");
    fflush(stdout);
    _exit(failed ? 1 : 0);
  }
  int state;
  return waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : 1;
}

int main(void)
{
  return run_child("v2") + run_child("v3");
}
