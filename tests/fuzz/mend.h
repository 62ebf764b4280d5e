/* Makes checksums right again that mutations have broken: what lies behind them is what is to be read. */
#ifndef QG_TESTS_FUZZ_MEND_H
#define QG_TESTS_FUZZ_MEND_H

#include <stddef.h>
#include <stdint.h>

/* Those of HDF5's superblock and of its object headers with their continuations (format of HDF5 1.8). */
void qg_fuzz_mend(uint8_t *file, size_t size);

#endif
