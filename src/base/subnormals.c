#include "qgalore/base.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Flush results to zero (bit 15) and read operands as zeros (bit 6): Intel SDM, volume 1, section 10.2.3. */
enum { FLUSH = 1 << 15 | 1 << 6 };

void qg_subnormals_flush(void)
{
  _mm_setcsr(_mm_getcsr() | FLUSH);
}
#elif defined(__aarch64__)
#define FLUSH (1ull << 24) /* FZ: Arm ARM, FPCR */

void qg_subnormals_flush(void)
{
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  __asm__ volatile("msr fpcr, %0" : : "r"(control | FLUSH));
}
#else
void qg_subnormals_flush(void)
{
}
#endif
