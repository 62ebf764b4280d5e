/* fp32 in two bf16. */
#ifndef QG_BACKEND_CPU_BF16_SPLIT_H
#define QG_BACKEND_CPU_BF16_SPLIT_H

#include <stdint.h>

/* qg_host_split in qgalore/host.h; qg_panels() is not NULL. */
void qg_split_bf16(int64_t count, const float *x, uint16_t *high, uint16_t *low);

#endif
