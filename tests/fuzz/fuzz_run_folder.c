/* A run's folder: the bytes are its status file and its metrics. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/report.h"
#include "app/status.h"
#include "fuzz/reader.h"
#include "qgalore/base.h"
#include "train/metrics.h"
#include "train/run_folder.h"

static char folder[64];

static void remove_folder(void)
{
  char path[96];
  snprintf(path, sizeof path, "%s/status", folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  unlink(path);
  rmdir(folder);
}

static qg_status make_folder(void)
{
  if (folder[0]) return QG_OK;
  strcpy(folder, "/tmp/qgalore-fuzz-XXXXXX");
  QG_CHECK(mkdtemp(folder), QG_ERR_RESOURCE, "cannot make %s", folder);
  atexit(remove_folder);
  return QG_OK;
}

static qg_status write_bytes(const char *name, const uint8_t *data, size_t size)
{
  char path[96];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s", path);
  bool written = fwrite(data, 1, size, file) == size;
  QG_CHECK(fclose(file) == 0 && written, QG_ERR_RESOURCE, "cannot write %s", path);
  return QG_OK;
}

/* As a resumed run does. */
static qg_status continue_metrics(void)
{
  double losses[8];
  const qg_model_shape shape = {0}; /* names what is written, which is nothing */
  qg_metrics *metrics = NULL;
  qg_metrics_recent_losses(folder, 5, losses, QG_COUNT_OF(losses));
  qg_status status = qg_metrics_open(folder, &shape, 5, &metrics);
  if (status == QG_OK && qg_metrics_lacks_validation(metrics))
    status = qg_metrics_add_validation(metrics, 1.0, NAN);
  qg_metrics_close(metrics);
  return status;
}

static void draw_curve(FILE *out)
{
  char path[96];
  qg_log log = {.out = out};
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  qg_report_loss_plot(&log, path);
}

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  static FILE *nowhere;
  if (!nowhere) nowhere = fopen("/dev/null", "w");
  QG_CHECK(nowhere, QG_ERR_RESOURCE, "cannot open /dev/null");
  QG_TRY(make_folder());
  QG_TRY(write_bytes("status", data, size));
  QG_TRY(write_bytes("metrics.jsonl", data, size));
  draw_curve(nowhere);
  qg_status status = qg_status_print(nowhere, folder);
  QG_TRY(continue_metrics());
  return status;
}
