/* The clock of the benches. */
#ifndef QG_TESTS_BENCH_CLOCK_H
#define QG_TESTS_BENCH_CLOCK_H

#include <time.h>

#include "qgalore/base.h"

/* Seconds of wall time; with one thread those of the processor, which do not count other programs. */
static inline double bench_seconds(int threads)
{
  struct timespec spent;
  if (threads > 1 || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent) != 0) return qg_now();
  return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

#endif
