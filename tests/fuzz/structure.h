/* Hostile files whose structure HDF5 itself has written, so that all its checksums are right: a good file,
 * changed as a recipe says. */
#ifndef QG_TESTS_FUZZ_STRUCTURE_H
#define QG_TESTS_FUZZ_STRUCTURE_H

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

/* Corrects our own checksums, as far as what they cover is still there. */
typedef void (*qg_fuzz_fixer)(hid_t file);

/* The path of a temporary copy of `good` with the changes of a recipe: attributes and datasets that are
 * missing, or of other types, shapes, places and values, and links that lead elsewhere. Any bytes are a
 * recipe; none changes nothing. NULL: no file can be made. */
const char *qg_fuzz_structure(const char *good, const uint8_t *recipe, size_t size, qg_fuzz_fixer fix);

#endif
