/* The panel kernels that this folder makes; src/backend/cpu/panel.c chooses. The whole folder is compiled for
 * AVX-512 with BF16 and AMX. */
#ifndef QG_BACKEND_CPU_PANEL_TABLES_H
#define QG_BACKEND_CPU_PANEL_TABLES_H

#include "backend/cpu/panel.h"

extern const qg_panel_kernels qg_panels_avx512, qg_panels_amx;

#endif
