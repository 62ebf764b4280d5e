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
  json_t
      *unvalidated; /* the last kept line if it is of the opening step and has no validation loss, or NULL */
  off_t unvalidated_at; /* where it begins */
};

static int64_t step_of(const json_t *object)
{
  return json_integer_value(json_object_get(object, "step"));
}

typedef void (*line_visitor)(const json_t *object, void *context);

/* Every whole line of a folder's metrics; none without the file. */
static void visit_lines(const char *folder, line_visitor visit, void *context)
{
  char path[1200], *line = NULL;
  size_t capacity = 0;
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  FILE *file = fopen(path, "r");
  while (file && getline(&line, &capacity, file) > 0) {
    json_t *object = json_loads(line, 0, NULL);
    if (json_is_object(object)) visit(object, context);
    json_decref(object);
  }
  free(line);
  if (file) fclose(file);
}

static void take_last(const json_t *object, void *context)
{
  const json_t *loss = json_object_get(object, "loss");
  *(qg_metrics_last *)context =
      (qg_metrics_last){step_of(object), json_integer_value(json_object_get(object, "tokens")),
                        json_is_number(loss) ? json_number_value(loss) : NAN};
}

qg_metrics_last qg_metrics_read_last(const char *folder)
{
  qg_metrics_last last = {-1, 0, NAN};
  visit_lines(folder, take_last, &last);
  return last;
}

typedef struct {
  int64_t step;
  double *loss;
  int count, found;
} recent;

static void take_recent(const json_t *object, void *context)
{
  recent *r = context;
  const json_t *loss = json_object_get(object, "loss");
  if (!json_is_number(loss) || step_of(object) > r->step) return;
  if (r->found == r->count) memmove(r->loss, r->loss + 1, (size_t)--r->found * sizeof *r->loss);
  r->loss[r->found++] = json_number_value(loss);
}

int qg_metrics_recent_losses(const char *folder, int64_t step, double *loss, int count)
{
  recent r = {step, loss, count, 0};
  visit_lines(folder, take_recent, &r);
  return r.found;
}

static void remember(qg_metrics *metrics, json_t *object, int64_t step, off_t at)
{
  json_decref(metrics->unvalidated);
  metrics->unvalidated = NULL;
  if (step_of(object) != step || json_object_get(object, "val_loss")) return;
  metrics->unvalidated = json_incref(object);
  metrics->unvalidated_at = at;
}

/* Copies a line if it is kept; a half-written last line of a killed run is dropped like the later ones. */
static void keep_line(qg_metrics *metrics, const char *line, int64_t step, FILE *out)
{
  json_t *object = json_loads(line, 0, NULL);
  if (json_is_object(object) && step_of(object) <= step) {
    remember(metrics, object, step, ftello(out));
    fprintf(out, "%.*s\n", (int)strcspn(line, "\n"), line);
  }
  json_decref(object);
}

/* The kept lines as one text. */
static char *kept_lines(qg_metrics *metrics, FILE *file, int64_t step, size_t *bytes)
{
  char *text = NULL, *line = NULL;
  size_t capacity = 0;
  FILE *out = open_memstream(&text, bytes);
  while (out && getline(&line, &capacity, file) > 0) keep_line(metrics, line, step, out);
  free(line);
  if (out) fclose(out);
  return text;
}

static qg_status truncate_to(qg_metrics *metrics, int64_t step)
{
  FILE *file = fopen(metrics->path, "r");
  if (!file) return QG_OK;
  size_t bytes = 0;
  char *text = kept_lines(metrics, file, step, &bytes);
  fclose(file);
  QG_CHECK(text, QG_ERR_RESOURCE, "out of memory while reading %s", metrics->path);
  qg_status status = qg_write_file_atomic(metrics->path, text, bytes);
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
  QG_TRY(truncate_to(metrics, step));
  metrics->file = open(metrics->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  QG_CHECK(metrics->file >= 0, QG_ERR_RESOURCE, "cannot write %s: %s", metrics->path, strerror(errno));
  return QG_OK;
}

/* Writes all of it or nothing: if a full disk cut off a line, the next one would be unreadable too. */
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

static void set_validation(json_t *object, double val_loss, double val_bits_per_byte)
{
  set_real(object, "val_loss", val_loss);
  set_real(object, "val_bits_per_byte", val_bits_per_byte);
}

static json_t *refresh_object(const qg_model_shape *shape, const qg_refresh_record *record)
{
  json_t *object = json_object();
  json_object_set_new(object, "param", json_string(qg_model_param(shape, record->param).name));
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

static json_t *line_object(const qg_model_shape *shape, const qg_metrics_line *line)
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
  if (!isnan(line->val_loss)) set_validation(object, line->val_loss, line->val_bits_per_byte);
  return object;
}

static qg_status append_object(qg_metrics *metrics, const json_t *object)
{
  char *json = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17)), *text = NULL;
  if (json && asprintf(&text, "%s\n", json) < 0) text = NULL;
  free(json);
  QG_CHECK(text, QG_ERR_RESOURCE, "out of memory for a line of %s", metrics->path);
  qg_status status = append(metrics, text, strlen(text));
  free(text);
  return status;
}

qg_status qg_metrics_write(qg_metrics *metrics, const qg_metrics_line *line)
{
  json_t *object = line_object(&metrics->shape, line);
  qg_status status = append_object(metrics, object);
  json_decref(object);
  return status;
}

bool qg_metrics_lacks_validation(const qg_metrics *metrics)
{
  return metrics->unvalidated != NULL;
}

qg_status qg_metrics_add_validation(qg_metrics *metrics, double val_loss, double val_bits_per_byte)
{
  QG_CHECK(ftruncate(metrics->file, metrics->unvalidated_at) == 0, QG_ERR_RESOURCE, "cannot write %s: %s",
           metrics->path, strerror(errno));
  set_validation(metrics->unvalidated, val_loss, val_bits_per_byte);
  return append_object(metrics, metrics->unvalidated);
}

void qg_metrics_close(qg_metrics *metrics)
{
  if (!metrics) return;
  if (metrics->file >= 0) close(metrics->file);
  json_decref(metrics->unvalidated);
  free(metrics);
}
