/* One source, several instruction sets: every file in isa/ is compiled once per level of the
 * x86-64 psABI (v2 SSE4, v3 AVX2, v4 AVX-512), and once for v4 with AVX512-BF16, and exports one table of
 * kernels per level. Products of bf16 (panel.h) need two levels more, whose row kernels are those of v4. The
 * level is chosen once at run time; QGALORE_CPU_ISA=v2|v3|v4|bf16|amx lowers it (for tests). */
#ifndef QG_BACKEND_CPU_ISA_H
#define QG_BACKEND_CPU_ISA_H

#include "qgalore/base/status.h"

#define QG_ISA_JOIN_(name, isa) name##_##isa
#define QG_ISA_JOIN(name, isa) QG_ISA_JOIN_(name, isa)

/* Inside isa/ files: the name of this level's symbol, QG_ISA_NAME(qg_rows) -> qg_rows_v4. */
#ifdef QG_ISA
#define QG_ISA_NAME(name) QG_ISA_JOIN(name, QG_ISA)
#endif

typedef enum {
  QG_CPU_V2 = 2,
  QG_CPU_V3,
  QG_CPU_V4,
  QG_CPU_BF16, /* v4 and AVX512-BF16 */
  QG_CPU_AMX   /* that and AMX tiles of bf16 */
} qg_cpu_level;

/* The level in use: the highest that processor, operating system and QGALORE_CPU_ISA allow. Local, constant.
 */
qg_cpu_level qg_cpu_isa(void);
/* QG_ERR_INPUT if QGALORE_CPU_ISA is set and names no level. Local. */
qg_status qg_cpu_isa_check(void);
/* As QGALORE_CPU_ISA spells it. */
const char *qg_cpu_isa_name(qg_cpu_level level);

/* The table of the level in use: QG_ISA_SELECT(qg_rows) with `extern const T qg_rows_v2, ...` declared. */
#if defined(__x86_64__)
#define QG_ISA_DECLARE(type, name) extern const type name##_v2, name##_v3, name##_v4, name##_bf16
#define QG_ISA_SELECT(name)                   \
  (qg_cpu_isa() >= QG_CPU_BF16 ? &name##_bf16 \
   : qg_cpu_isa() == QG_CPU_V4 ? &name##_v4   \
   : qg_cpu_isa() == QG_CPU_V3 ? &name##_v3   \
                               : &name##_v2)
#else
#define QG_ISA_DECLARE(type, name) extern const type name##_generic
#define QG_ISA_SELECT(name) (&name##_generic)
#endif

#endif
