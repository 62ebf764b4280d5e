/* A test of the CUDA backend in several schedules of the emulation. */
#ifndef QG_TESTS_CUDA_SCHEDULES_H
#define QG_TESTS_CUDA_SCHEDULES_H

#include <sys/wait.h>

#include "cuda_device.h"
#include "qgalore/base.h"

/* The emulation takes its schedule from the environment when it is loaded, so each runs in a child of its
 * own. */
static inline bool passes_in_a_child(int (*failures)(void), const char *seed)
{
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    setenv("CUDAEMU_SEED", seed, 1);
    exit(failures() != 0);
  }
  int result = 1;
  return child > 0 && waitpid(child, &result, 0) == child && WIFEXITED(result) && WEXITSTATUS(result) == 0;
}

/* In how many schedules there are failures: in turns and at random. A device has no use for seeds. */
static inline int fail_under_seeds(int (*failures)(void))
{
  static const char *const seeds[] = {"0", "1", "2"};
  int count = getenv("QGALORE_CUDA_PLUGIN") ? 1 : QG_COUNT_OF(seeds), failed = 0;
  for (int i = 0; i < count; i++) failed += !passes_in_a_child(failures, seeds[i]);
  return failed;
}

#endif
