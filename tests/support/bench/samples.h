/* Measured times and what is said about them. */
#ifndef QG_TESTS_SAMPLES_H
#define QG_TESTS_SAMPLES_H

#include <stdlib.h>
#include <time.h>

/* Seconds of all threads of this process. */
static inline double samples_cpu_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int samples_ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts them. */
static inline double samples_median(double *values, int count)
{
  qsort(values, (size_t)count, sizeof *values, samples_ascending);
  return values[count / 2];
}

#endif
