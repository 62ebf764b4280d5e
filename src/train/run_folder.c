#include "train/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qgalore/base.h"

qg_run_folder qg_run_folder_of(const qg_config *config)
{
  qg_run_folder folder;
  snprintf(folder.root, sizeof folder.root, "%s/%s", config->run.output_dir, config->run.name);
  snprintf(folder.checkpoints, sizeof folder.checkpoints, "%s/checkpoints", folder.root);
  snprintf(folder.stop_file, sizeof folder.stop_file, "%s/STOP", folder.root);
  return folder;
}

qg_status qg_run_folder_prepare(const qg_run_folder *folder, const qg_config *config)
{
  char path[sizeof folder->root + 16], *text = NULL;
  QG_TRY(qg_make_folder(folder->checkpoints));
  QG_TRY(qg_config_resolved(config, &text));
  snprintf(path, sizeof path, "%s/resolved.in", folder->root);
  qg_status status = qg_write_file_atomic(path, text, strlen(text));
  free(text);
  return status;
}

qg_status qg_run_folder_write_status(const qg_run_folder *folder, const char *state, int64_t step,
                                     int64_t steps, const char *reason)
{
  char path[sizeof folder->root + 16], text[512], when[32];
  time_t now = time(NULL);
  struct tm utc;
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  int bytes = snprintf(text, sizeof text, "state=%s\nstep=%lld\nsteps=%lld\nreason=%s\nupdated=%s\n", state,
                       (long long)step, (long long)steps, reason, when);
  snprintf(path, sizeof path, "%s/status", folder->root);
  return qg_write_file_atomic(path, text, (size_t)bytes);
}
