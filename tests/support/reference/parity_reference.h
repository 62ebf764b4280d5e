/* Reads tests/parity/reference.json, written by tests/parity/generate_reference.py from the published code.
 */
#ifndef QG_TESTS_PARITY_REFERENCE_H
#define QG_TESTS_PARITY_REFERENCE_H

#include <jansson.h>
#include <stddef.h>

/* The file beside a test's source; fails the test with the reason. Free with json_decref. */
json_t *parity_load(const char *test_source);

/* The bytes of a hexadecimal member; fails the test unless there are exactly `bytes`. */
void parity_bytes(const json_t *object, const char *key, void *out, size_t bytes);

#endif
