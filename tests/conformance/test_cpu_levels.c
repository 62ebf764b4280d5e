/* The CPU backend keeps its promises on every instruction set of this processor. */
#include <stdio.h>

#include "support/suites/conformance.h"
#include "support/fixtures/cpu_levels.h"

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

static int run_both(void)
{
  return run_precision("fp32") + run_precision("bf16");
}

int main(void)
{
  return on_every_cpu_level(run_both);
}
