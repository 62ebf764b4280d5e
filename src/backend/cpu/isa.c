#include "backend/cpu/isa.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
/* __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers. */
static qg_cpu_level processor_level(void)
{
  __builtin_cpu_init();
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (!v3) return QG_CPU_V2;
  bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl");
  return v4 ? QG_CPU_V4 : QG_CPU_V3;
}
#else
static qg_cpu_level processor_level(void)
{
  return QG_CPU_V2;
}
#endif

static qg_cpu_level level_allowed(void)
{
  const char *text = getenv("QGALORE_CPU_ISA");
  if (text && strcmp(text, "v2") == 0) return QG_CPU_V2;
  if (text && strcmp(text, "v3") == 0) return QG_CPU_V3;
  return QG_CPU_V4;
}

qg_cpu_level qg_cpu_isa(void)
{
  /* Racing first calls compute the same value; the cache only keeps getenv out of kernels. */
  static _Atomic int cached = 0;
  int level = atomic_load_explicit(&cached, memory_order_relaxed);
  if (level == 0) {
    qg_cpu_level have = processor_level(), allowed = level_allowed();
    level = (int)(have < allowed ? have : allowed);
    atomic_store_explicit(&cached, level, memory_order_relaxed);
  }
  return (qg_cpu_level)level;
}
