/* What is said when memory does not suffice: who holds how much, and what to do. */
#ifndef QG_MEMORY_ERROR_H
#define QG_MEMORY_ERROR_H

#include "qgalore/memory.h"

/* Whether `bytes` more and the backend's margin are free on its device. True where that cannot be told. */
bool qg_memory_fits(qg_backend *be, size_t bytes);

/* QG_ERR_RESOURCE for a whole reservation of `all` bytes, `planned` [QG_OWNER_COUNT] by owner. */
qg_status qg_memory_fail_reservation(qg_backend *be, const size_t *planned, size_t all);
/* QG_ERR_RESOURCE for one request, beside what is `held` [QG_OWNER_COUNT]; the reason is the last error. */
qg_status qg_memory_fail_request(qg_owner owner, const char *what, size_t bytes, const size_t *held);

#endif
