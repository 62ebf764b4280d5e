/* Memory limits of control groups, as batch systems and containers set them. */
#ifndef QG_BASE_CGROUP_H
#define QG_BASE_CGROUP_H

#include <stddef.h>

/* The least limit in bytes of the groups listed in the file `membership` (/proc/self/cgroup) and of all above
 * them, below the folder `mount` (/sys/fs/cgroup); SIZE_MAX: none. Versions 1 and 2. Local. */
size_t qg_cgroup_memory_limit(const char *membership, const char *mount);

#endif
