/* The promises of the Adam operation, for any backend: the same moments and updates as the plain scalar loop.
 */
#ifndef QG_TESTS_ADAM_CONFORMANCE_H
#define QG_TESTS_ADAM_CONFORMANCE_H

#include "qgalore/backend.h"

/* As quant_conformance_run. */
int adam_conformance_run(qg_backend *be, const char *label);

#endif
