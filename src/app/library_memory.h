/* Memory that libraries take behind the ledger's back. */
#ifndef QG_APP_LIBRARY_MEMORY_H
#define QG_APP_LIBRARY_MEMORY_H

#include "qgalore/backend.h"
#include "qgalore/base/state.h"
#include "qgalore/config.h"
#include "qgalore/model.h"

/* Uses the GEMM and LAPACK libraries once, on every thread: kernels are compiled, code is read in, threads
 * get their packing buffers. The resident memory of the process afterwards is what these cost in any run.
 * Local. */
qg_status qg_library_memory_warm_up(qg_backend *be);

/* Estimate of what comes on top of that in this job: packed panels of its largest product, HDF5, buffers for
 * tokens and for the checkpoint that these entries are read from or written to. Local. */
size_t qg_library_memory_estimate(const qg_config *config, const qg_backend *be, const qg_partition *part,
                                  const qg_state_entry *entries, int count);

#endif
