/* The backends that the registry knows. */
#ifndef QG_BACKEND_REGISTRY_H
#define QG_BACKEND_REGISTRY_H

#include "qgalore/backend.h"

qg_status qg_cpu_open(const qg_backend_request *request, qg_backend **out);
void qg_cpu_close(qg_backend *be);

#endif
