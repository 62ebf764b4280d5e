/* What this rank has: threads, a backend, its speed. */
#ifndef QG_APP_HARDWARE_H
#define QG_APP_HARDWARE_H

#include "qgalore/backend.h"
#include "qgalore/config.h"
#include "qgalore/par.h"

/* backend.threads, or the cores that this process may use divided by the ranks of the node, at least 1.
 * Local. */
int qg_hardware_threads(const qg_config *config, const qg_grid *grid);
qg_status qg_hardware_open_backend(const qg_config *config, const qg_grid *grid, bool plan, qg_backend **out);
/* FLOP/s of a square GEMM in the compute type, of side 1024, or more on a device: the reference of the log's
 * %gemm. Local. */
qg_status qg_hardware_gemm_rate(qg_backend *be, double *flops);

#endif
