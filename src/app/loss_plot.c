/* A loss curve for a terminal. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/report.h"
#include "qgalore/base.h"

enum { PLOT_WIDTH = 72, PLOT_HEIGHT = 14 };

typedef struct {
  double sum[PLOT_WIDTH]; /* training loss per column */
  int count[PLOT_WIDTH];
  double valid[PLOT_WIDTH]; /* last validation loss in the column, NaN: none */
  double low, high;
  int64_t last_step;
} loss_plot;

typedef void (*line_visitor)(json_t *object, loss_plot *c);

static void visit_lines(FILE *file, line_visitor visit, loss_plot *c)
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

static void find_last(json_t *object, loss_plot *c)
{
  c->last_step = qg_max_i64(c->last_step, json_integer_value(json_object_get(object, "step")));
}

static void collect(json_t *object, loss_plot *c)
{
  int64_t step = json_integer_value(json_object_get(object, "step"));
  json_t *loss = json_object_get(object, "loss"), *valid = json_object_get(object, "val_loss");
  if (step < 1 || !json_is_real(loss)) return;
  int column = (int)((double)(step - 1) * PLOT_WIDTH / (double)c->last_step);
  if (column >= PLOT_WIDTH) return;
  c->sum[column] += json_real_value(loss);
  c->count[column]++;
  if (json_is_real(valid)) c->valid[column] = json_real_value(valid);
}

static void find_range(loss_plot *c)
{
  c->low = INFINITY;
  c->high = -INFINITY;
  for (int i = 0; i < PLOT_WIDTH; i++) {
    if (c->count[i])
      c->low = fmin(c->low, c->sum[i] / c->count[i]), c->high = fmax(c->high, c->sum[i] / c->count[i]);
    if (!isnan(c->valid[i])) c->low = fmin(c->low, c->valid[i]), c->high = fmax(c->high, c->valid[i]);
  }
}

static int row_of(const loss_plot *c, double loss)
{
  return (int)lround((c->high - loss) / (c->high - c->low) * (PLOT_HEIGHT - 1));
}

static void draw(const qg_log *log, const loss_plot *c)
{
  for (int row = 0; row < PLOT_HEIGHT; row++) {
    char line[PLOT_WIDTH + 1];
    memset(line, ' ', PLOT_WIDTH);
    line[PLOT_WIDTH] = '\0';
    for (int i = 0; i < PLOT_WIDTH; i++) {
      if (c->count[i] && row_of(c, c->sum[i] / c->count[i]) == row) line[i] = '*';
      if (!isnan(c->valid[i]) && row_of(c, c->valid[i]) == row) line[i] = 'o';
    }
    qg_log_raw(log, "%8.3f |%s\n", c->high - (c->high - c->low) * row / (PLOT_HEIGHT - 1), line);
  }
  qg_log_raw(log, "%8s +%.*s\n%8s 1%*lld steps   (* training loss, o validation loss)\n", "", PLOT_WIDTH,
             "------------------------------------------------------------------------", "", PLOT_WIDTH - 1,
             (long long)c->last_step);
}

void qg_report_loss_plot(const qg_log *log, const char *metrics_path)
{
  FILE *file = fopen(metrics_path, "r");
  if (!file) return;
  loss_plot c = {.last_step = 1};
  for (int i = 0; i < PLOT_WIDTH; i++) c.valid[i] = NAN;
  visit_lines(file, find_last, &c);
  visit_lines(file, collect, &c);
  fclose(file);
  find_range(&c);
  if (c.high > c.low) draw(log, &c);
}
