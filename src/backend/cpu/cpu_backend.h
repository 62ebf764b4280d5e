/* How the registry opens the CPU backend. */
#ifndef QG_BACKEND_CPU_CPU_BACKEND_H
#define QG_BACKEND_CPU_CPU_BACKEND_H

#include "qgalore/backend.h"

/* As qg_backend_open, for this backend. */
qg_status qg_cpu_open(const qg_backend_request *request, qg_backend **out);

#endif
