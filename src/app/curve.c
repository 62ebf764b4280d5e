/* A loss curve for a terminal. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/report.h"
#include "qgalore/base.h"

enum { CURVE_WIDTH = 72, CURVE_HEIGHT = 14 };

typedef struct {
  double sum[CURVE_WIDTH]; /* training loss per column */
  int count[CURVE_WIDTH];
  double valid[CURVE_WIDTH]; /* last validation loss in the column, NaN: none */
  double low, high;
  int64_t last_step;
} curve;

typedef void (*line_visitor)(json_t *object, curve *c);

static void visit_lines(FILE *file, line_visitor visit, curve *c)
{
  char *line = NULL;
  size_t capacity = 0;
  rewind(file);
  while (getline(&line, &capacity, file) > 0) {
    json_t *object = json_loads(line, 0, NULL);
    if (object) visit(object, c);
    json_decref(object);
  }
  free(line);
}

static void find_last(json_t *object, curve *c)
{
  c->last_step = qg_max_i64(c->last_step, json_integer_value(json_object_get(object, "step")));
}

static void collect(json_t *object, curve *c)
{
  int64_t step = json_integer_value(json_object_get(object, "step"));
  json_t *loss = json_object_get(object, "loss"), *valid = json_object_get(object, "val_loss");
  if (step < 1 || !json_is_real(loss)) return;
  int column = (int)((double)(step - 1) * CURVE_WIDTH / (double)c->last_step);
  if (column >= CURVE_WIDTH) return;
  c->sum[column] += json_real_value(loss);
  c->count[column]++;
  if (json_is_real(valid)) c->valid[column] = json_real_value(valid);
}

static void find_range(curve *c)
{
  c->low = INFINITY;
  c->high = -INFINITY;
  for (int i = 0; i < CURVE_WIDTH; i++) {
    if (c->count[i])
      c->low = fmin(c->low, c->sum[i] / c->count[i]), c->high = fmax(c->high, c->sum[i] / c->count[i]);
    if (!isnan(c->valid[i])) c->low = fmin(c->low, c->valid[i]), c->high = fmax(c->high, c->valid[i]);
  }
}

static int row_of(const curve *c, double loss)
{
  return (int)lround((c->high - loss) / (c->high - c->low) * (CURVE_HEIGHT - 1));
}

static void draw(const qg_log *log, const curve *c)
{
  for (int row = 0; row < CURVE_HEIGHT; row++) {
    char line[CURVE_WIDTH + 1];
    memset(line, ' ', CURVE_WIDTH);
    line[CURVE_WIDTH] = '\0';
    for (int i = 0; i < CURVE_WIDTH; i++) {
      if (c->count[i] && row_of(c, c->sum[i] / c->count[i]) == row) line[i] = '*';
      if (!isnan(c->valid[i]) && row_of(c, c->valid[i]) == row) line[i] = 'o';
    }
    qg_log_raw(log, "%8.3f |%s\n", c->high - (c->high - c->low) * row / (CURVE_HEIGHT - 1), line);
  }
  qg_log_raw(log, "%8s +%.*s\n%8s 1%*lld steps   (* training loss, o validation loss)\n", "", CURVE_WIDTH,
             "------------------------------------------------------------------------", "", CURVE_WIDTH - 1,
             (long long)c->last_step);
}

void qg_report_curve(const qg_log *log, const char *metrics_path)
{
  FILE *file = fopen(metrics_path, "r");
  if (!file) return;
  curve c = {.last_step = 1};
  for (int i = 0; i < CURVE_WIDTH; i++) c.valid[i] = NAN;
  visit_lines(file, find_last, &c);
  visit_lines(file, collect, &c);
  fclose(file);
  find_range(&c);
  if (c.high > c.low) draw(log, &c);
}
