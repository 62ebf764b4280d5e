#include "train/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"

struct qg_metrics {
  int file; /* appends */
  qg_model_shape shape;
  char path[1200];
};

static bool line_is_kept(const char *line, int64_t step)
{
  json_t *object = json_loads(line, 0, NULL);
  bool kept = object && json_integer_value(json_object_get(object, "step")) <= step;
  json_decref(object);
  return kept;
}

/* The kept lines as one text; a half-written last line of a killed run falls away with the rest. */
static char *kept_lines(FILE *file, int64_t step, size_t *bytes)
{
  char *text = NULL, *line = NULL;
  size_t capacity = 0;
  FILE *out = open_memstream(&text, bytes);
  while (out && getline(&line, &capacity, file) > 0)
    if (line_is_kept(line, step)) fprintf(out, "%.*s\n", (int)strcspn(line, "\n"), line);
  free(line);
  if (out) fclose(out);
  return text;
}

static qg_status truncate_to(const char *path, int64_t step)
{
  FILE *file = fopen(path, "r");
  if (!file) return QG_OK;
  size_t bytes = 0;
  char *text = kept_lines(file, step, &bytes);
  fclose(file);
  QG_CHECK(text, QG_ERR_RESOURCE, "out of memory while reading %s", path);
  qg_status status = qg_write_file_atomic(path, text, bytes);
  free(text);
  return status;
}

qg_status qg_metrics_open(const char *folder, const qg_model_shape *shape, int64_t step, qg_metrics **out)
{
  qg_metrics *metrics;
  QG_TRY(qg_calloc(1, sizeof *metrics, "metrics", (void **)&metrics));
  *out = metrics;
  metrics->file = -1;
  metrics->shape = *shape;
  snprintf(metrics->path, sizeof metrics->path, "%s/metrics.jsonl", folder);
  QG_TRY(truncate_to(metrics->path, step));
  metrics->file = open(metrics->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  QG_CHECK(metrics->file >= 0, QG_ERR_RESOURCE, "cannot write %s: %s", metrics->path, strerror(errno));
  return QG_OK;
}

/* All of it or nothing: a line that a full disk cut off would spoil the next one too. */
static qg_status append(const qg_metrics *metrics, const char *text, size_t bytes)
{
  off_t end = lseek(metrics->file, 0, SEEK_END);
  ssize_t written = write(metrics->file, text, bytes);
  if (written == (ssize_t)bytes) return QG_OK;
  const char *reason = written < 0 ? strerror(errno) : strerror(ENOSPC);
  /* What cannot be taken back is dropped as an unreadable line at the next restart. */
  bool taken_back = written <= 0 || (end >= 0 && ftruncate(metrics->file, end) == 0);
  return QG_FAIL(QG_ERR_RESOURCE, "cannot write %s: %s; %s", metrics->path, reason,
                 taken_back ? "lines will be missing" : "a line is cut off");
}

static void set_real(json_t *object, const char *key, double value)
{
  /* JSON has no NaN or infinity; a skipped step shows null. */
  json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *refresh_object(const qg_model_shape *shape, const qg_refresh_record *record)
{
  json_t *object = json_object();
  json_object_set_new(object, "param", json_string(qg_param_describe(shape, record->param).name));
  set_real(object, "similarity", record->similarity); /* null at the first */
  set_real(object, "energy", record->energy);
  json_object_set_new(object, "interval", json_integer(record->interval));
  json_object_set_new(object, "method", json_string(qg_subspace_method_name(record->used)));
  return object;
}

static json_t *refresh_list(const qg_model_shape *shape, const qg_step_result *result)
{
  json_t *list = json_array();
  for (int64_t i = 0; i < result->refreshes; i++)
    json_array_append_new(list, refresh_object(shape, &result->records[i]));
  return list;
}

/* The line as text, newline included; NULL without memory. Caller frees. */
static char *line_text(const qg_model_shape *shape, const qg_metrics_line *line)
{
  const qg_step_result *result = line->result;
  json_t *object = json_object();
  json_object_set_new(object, "step", json_integer(line->step));
  json_object_set_new(object, "tokens", json_integer(line->tokens));
  set_real(object, "loss", result->loss);
  set_real(object, "grad_norm", result->grad_norm);
  set_real(object, "lr", result->lr);
  set_real(object, "tokens_per_s", line->tokens_per_s);
  json_object_set_new(object, "refreshes", json_integer(result->refreshes));
  if (result->refreshes > 0) json_object_set_new(object, "refreshed", refresh_list(shape, result));
  if (!isnan(line->val_loss)) {
    set_real(object, "val_loss", line->val_loss);
    set_real(object, "val_bits_per_byte", line->val_bits_per_byte);
  }
  char *json = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17)), *text = NULL;
  json_decref(object);
  if (json && asprintf(&text, "%s\n", json) < 0) text = NULL;
  free(json);
  return text;
}

qg_status qg_metrics_write(qg_metrics *metrics, const qg_metrics_line *line)
{
  char *text = line_text(&metrics->shape, line);
  QG_CHECK(text, QG_ERR_RESOURCE, "out of memory for a line of %s", metrics->path);
  qg_status status = append(metrics, text, strlen(text));
  free(text);
  return status;
}

void qg_metrics_close(qg_metrics *metrics)
{
  if (!metrics) return;
  if (metrics->file >= 0) close(metrics->file);
  free(metrics);
}
