/* The promises of the quantised-state operations, for any backend: the same codes as the plain scalar loops.
 */
#ifndef QG_TESTS_QUANT_CONFORMANCE_H
#define QG_TESTS_QUANT_CONFORMANCE_H

#include "qgalore/backend.h"

/* Runs every check against an open backend and returns the number of failures. Device memory is touched only
 * through alloc, copy_in and copy_out. `label` names the run in the output. */
int quant_conformance_run(qg_backend *be, const char *label);

#endif
