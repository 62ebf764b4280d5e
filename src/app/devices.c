#include "app/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

typedef struct {
  char host[64], device[32];
} device_of_rank;

static bool same(const device_of_rank *a, const device_of_rank *b)
{
  return a->device[0] && strcmp(a->device, b->device) == 0 && strcmp(a->host, b->host) == 0;
}

static qg_status compare(const device_of_rank *all, int ranks)
{
  for (int i = 1; i < ranks; i++)
    for (int k = 0; k < i; k++)
      QG_CHECK(!same(&all[k], &all[i]), QG_ERR_RESOURCE,
               "ranks %d and %d of %s would share the GPU at %s: start as many ranks a node as it has GPUs, "
               "or set "
               "parallel.share_gpu = yes",
               k, i, all[i].host, all[i].device);
  return QG_OK;
}

qg_status qg_devices_check(const qg_config *config, qg_par *par, const qg_backend *be)
{
  const qg_grid *grid = qg_par_grid(par);
  device_of_rank mine = {"", ""}, *all = NULL;
  qg_status status;
  snprintf(mine.host, sizeof mine.host, "%s", grid->host);
  snprintf(mine.device, sizeof mine.device, "%s", be->device);
  QG_TRY_OUT(qg_calloc((size_t)grid->size, sizeof *all, "devices of the ranks", (void **)&all));
  QG_TRY_OUT(qg_par_gather(par, &mine, sizeof mine, all, 0));
  if (qg_par_is_root(grid) && !config->parallel.share_gpu) status = compare(all, grid->size);
out:
  free(all);
  return qg_par_agree(par, status);
}
