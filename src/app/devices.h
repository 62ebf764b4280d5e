/* One device a rank, unless the user wants otherwise. */
#ifndef QG_APP_DEVICES_H
#define QG_APP_DEVICES_H

#include "qgalore/backend.h"
#include "qgalore/config.h"
#include "qgalore/par.h"

/* QG_ERR_RESOURCE on every rank if two ranks of a host have opened the same device and parallel.share_gpu is
 * off. Launchers may show every rank the same devices or each rank its own as device 0, so devices are told
 * apart by their address. Collective. */
qg_status qg_devices_check(const qg_config *config, qg_par *par, const qg_backend *be);

#endif
