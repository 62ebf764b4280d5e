/* The conformance suite: what qgalore/backend.h promises, asked of an open backend and checked against a
 * plain double reference. Device memory is touched through the operations alone, so every backend runs the
 * same tests. */
#ifndef QG_TESTS_CONFORMANCE_H
#define QG_TESTS_CONFORMANCE_H

#include "qgalore/backend.h"

/* Runs every test on `be`, whose workspace the suite sets. Returns the number of failed tests. */
int qg_conformance_run(qg_backend *be);

/* Those of attention alone, for a backend that was opened with another kind of it. */
int qg_conformance_run_attention(qg_backend *be);

#endif
