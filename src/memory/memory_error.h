/* What is said when memory does not suffice: who holds how much, and what to do. */
#ifndef QG_MEMORY_ERROR_H
#define QG_MEMORY_ERROR_H

#include "qgalore/memory.h"

/* Whether `bytes` more and the backend's margin are free on its device. True where that cannot be told. */
bool qg_memory_fits(qg_backend *be, size_t bytes);

/* QG_ERR_RESOURCE for a whole plan, and for one request whose reason is the last error. */
qg_status qg_memory_fail_reservation(qg_backend *be, const qg_mem *plan);
qg_status qg_memory_fail_request(const qg_mem *mem, qg_owner owner, const char *what, size_t bytes);

#endif
