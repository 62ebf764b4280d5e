/* The backends that the registry knows. */
#ifndef QG_BACKEND_REGISTRY_H
#define QG_BACKEND_REGISTRY_H

#include "qgalore/backend.h"

qg_status qg_cpu_open(const qg_backend_request *request, qg_backend **out);
void qg_cpu_close(qg_backend *be);

/* Why the CUDA backend cannot be used here, or NULL if it can. */
const char *qg_cuda_missing(void);

#endif
