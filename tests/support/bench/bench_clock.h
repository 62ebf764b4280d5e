/* Time as benches take it. */
#ifndef QG_TESTS_BENCH_CLOCK_H
#define QG_TESTS_BENCH_CLOCK_H

#include <time.h>

#include "qgalore/base.h"

/* Seconds on the wall; with one thread those of the processor, which other programs on the machine take no
 * part of. */
static inline double bench_seconds(int threads)
{
  struct timespec spent;
  if (threads > 1 || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent) != 0) return qg_now();
  return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

#endif
