/* The CPU backend keeps its promises on every instruction set of this processor. The level is chosen once per
 * process, so each runs in a child; the parent opens no backend, and so has no threads when it forks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/conformance.h"
#include "backend/cpu/isa.h"
#include "qgalore/base.h"

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

/* A level above the processor's own falls back to that, which another child tests. */
static int run_level(const char *level)
{
  setenv("QGALORE_CPU_ISA", level, 1);
  const char *in_use = qg_cpu_isa_name(qg_cpu_isa());
  if (strcmp(in_use, level) != 0) {
    printf("# %s: this processor has %s\n", level, in_use);
    return 0;
  }
  return run_precision("fp32") + run_precision("bf16");
}

static int run_child(const char *level)
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    int failed = run_level(level);
    fflush(stdout);
    _exit(failed ? 1 : 0);
  }
  int state;
  return waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : 1;
}

int main(void)
{
  static const char *const levels[] = {"v2", "v3", "v4", "bf16", "amx"};
  int failed = 0;
  for (int i = 0; i < QG_COUNT_OF(levels); i++) failed += run_child(levels[i]);
  return failed;
}
