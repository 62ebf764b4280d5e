/* Corrects the checksums of a mutated file, so that readers go on to what the checksums guard. */
#ifndef QG_TESTS_FUZZ_FIX_CHECKSUMS_H
#define QG_TESTS_FUZZ_FIX_CHECKSUMS_H

#include <stddef.h>
#include <stdint.h>

/* Those of HDF5's superblock and of its object headers with their continuations (format of HDF5 1.8). */
void qg_fuzz_fix_checksums(uint8_t *file, size_t size);

#endif
