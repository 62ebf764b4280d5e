/* Finding and opening the shared object of the CUDA backend. */
#ifndef QG_BACKEND_PLUGIN_LOADER_H
#define QG_BACKEND_PLUGIN_LOADER_H

#include "qgalore/backend/plugin.h"

/* The table of libqgalore_cuda.so: of the file that QGALORE_CUDA_PLUGIN names, or else beside the executable
 * or in ../lib. It stays loaded: NVIDIA's libraries cannot be unloaded safely. QG_ERR_RESOURCE says why there
 * is none that could work: no driver, no file, a file that does not load, or one of another version. Without
 * needs_driver a missing driver is no obstacle. Local. */
qg_status qg_plugin_find(bool needs_driver, const qg_plugin **out);

#endif
