/* The CUDA backend keeps every promise of qgalore/backend.h, in bf16 and in fp32, and stores the same bits as
 * the CPU backend: both equal the plain definitions. Without QGALORE_CUDA_PLUGIN its kernels are emulated on
 * the host, in turns and with random schedules of warps. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/adam_conformance.h"
#include "../support/conformance.h"
#include "../support/cuda_device.h"
#include "../support/quant_conformance.h"
#include "qgalore/base.h"

static int run_precision(const char *precision)
{
  qg_backend *be = open_cuda(precision);
  if (!be) return 1;
  int failures = qg_conformance_run(be);
  failures += quant_conformance_run(be, be->description) + adam_conformance_run(be, be->description);
  be->close(be);
  return failures;
}

/* The emulation takes its schedule from the environment when it is loaded, so each runs in a child of its
 * own. */
static bool passes_in_a_child(const char *seed)
{
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    setenv("CUDAEMU_SEED", seed, 1);
    exit(run_precision("bf16") + run_precision("fp32") != 0);
  }
  int result = 1;
  return child > 0 && waitpid(child, &result, 0) == child && WIFEXITED(result) && WEXITSTATUS(result) == 0;
}

/* A device has no use for seeds. */
int main(void)
{
  static const char *const seeds[] = {"0", "1", "2"};
  int count = getenv("QGALORE_CUDA_PLUGIN") ? 1 : QG_COUNT_OF(seeds), failed = 0;
  for (int i = 0; i < count; i++) failed += !passes_in_a_child(seeds[i]);
  return failed;
}
