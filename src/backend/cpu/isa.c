#include "backend/cpu/isa.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* EDX of leaf 7 (Intel SDM, CPUID): older compilers have no names for these. */
enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* asm/prctl.h of Linux 5.16 */

/* A process has to ask for the tile registers, once, before any of its threads uses them. */
static bool tiles_granted(void)
{
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool has_tiles(void)
{
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE);
}

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
  if (!v4) return QG_CPU_V3;
  if (!__builtin_cpu_supports("avx512bf16")) return QG_CPU_V4;
  return has_tiles() && tiles_granted() ? QG_CPU_AMX : QG_CPU_BF16;
}
#else
static qg_cpu_level processor_level(void)
{
  return QG_CPU_V2;
}
#endif

static const char *const names[] = {
    [QG_CPU_V2] = "v2", [QG_CPU_V3] = "v3", [QG_CPU_V4] = "v4", [QG_CPU_BF16] = "bf16", [QG_CPU_AMX] = "amx"};

const char *qg_cpu_isa_name(qg_cpu_level level)
{
  return names[level];
}

/* The level of this name; 0: there is none. */
static int level_named(const char *name)
{
  int level = QG_CPU_AMX;
  while (level >= QG_CPU_V2 && strcmp(name, names[level]) != 0) level--;
  return level >= QG_CPU_V2 ? level : 0;
}

qg_status qg_cpu_isa_check(void)
{
  const char *text = getenv("QGALORE_CPU_ISA");
  QG_CHECK(!text || level_named(text), QG_ERR_INPUT,
           "environment: QGALORE_CPU_ISA is \"%s\": it must be v2, v3, v4, bf16 or amx, or unset", text);
  return QG_OK;
}

static qg_cpu_level level_allowed(void)
{
  const char *text = getenv("QGALORE_CPU_ISA");
  int named = text ? level_named(text) : 0;
  return named ? (qg_cpu_level)named : QG_CPU_AMX;
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
