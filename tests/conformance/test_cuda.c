/* The CUDA backend keeps every promise of qgalore/backend.h, in bf16 and in fp32, and stores the same bits as
 * the CPU backend: both equal the plain definitions. Without QGALORE_CUDA_PLUGIN its kernels are emulated on
 * the host, in turns and with random schedules of warps. */
#include "support/suites/adam_conformance.h"
#include "support/suites/conformance.h"
#include "support/fixtures/cuda_schedules.h"
#include "support/suites/quant_conformance.h"
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

static int run_all(void)
{
  return run_precision("bf16") + run_precision("fp32");
}

/* Products that cuBLASLt has no algorithm for go to cuBLAS. */
static int run_without_plans(void)
{
  setenv("CUDAEMU_NO_LT", "1", 1);
  qg_backend *be = open_cuda("bf16");
  if (!be) return 1;
  int failures = qg_conformance_run(be);
  be->close(be);
  return failures;
}

int main(void)
{
  bool emulated = !getenv("QGALORE_CUDA_PLUGIN");
  int failures = fail_under_seeds(run_all);
  return failures + (emulated && !passes_in_a_child(run_without_plans, "0"));
}
