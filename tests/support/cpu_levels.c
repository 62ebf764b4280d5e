#include "cpu_levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cpu/isa.h"
#include "qgalore/base.h"

/* A level above the processor's own falls back to that, which another child tests. */
static int run_level(const char *level, int (*failures_of)(void))
{
  setenv("QGALORE_CPU_ISA", level, 1);
  const char *in_use = qg_cpu_isa_name(qg_cpu_isa());
  if (strcmp(in_use, level) == 0) return failures_of();
  printf("# %s: this processor has %s\n", level, in_use);
  return 0;
}

static int run_child(const char *level, int (*failures_of)(void))
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    int failed = run_level(level, failures_of);
    fflush(stdout);
    _exit(failed ? 1 : 0);
  }
  int state;
  return waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : 1;
}

int on_every_cpu_level(int (*failures_of)(void))
{
  static const char *const levels[] = {"v2", "v3", "v4", "bf16", "amx"};
  int failed = 0;
  for (int i = 0; i < QG_COUNT_OF(levels); i++) failed += run_child(levels[i], failures_of);
  return failed;
}
