/* The CPU backend in bf16 keeps every promise of qgalore/backend.h. */
#include <stdio.h>

#include "support/suites/conformance.h"

int main(void)
{
  qg_backend *be;
  qg_backend_request request = {.name = "cpu", .precision = "bf16", .threads = 2};
  if (qg_backend_open(&request, &be) != QG_OK) {
    fprintf(stderr, "%s\n", qg_error_message());
    return 1;
  }
  int failures = qg_conformance_run(be);
  qg_backend_close(be);
  return failures;
}
