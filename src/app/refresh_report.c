/* The end table of subspace refreshes: per layer, what was done, what lazy refresh saved, and how similar
 * subspaces were. */
#include "app/report.h"

#include <math.h>
#include <stdlib.h>

#include "qgalore/base.h"

/* What every rank tells of its matrices; zeros of the others. */
enum { DONE, SAVED, SIMILARITY, MEASURED, INTERVAL, FIELDS };

static void describe(const qg_tracker *tracker, double *fields)
{
  double mean = qg_tracker_mean(tracker);
  fields[DONE] = (double)tracker->refreshes;
  fields[SAVED] = (double)tracker->saved;
  fields[MEASURED] = isfinite(mean);
  fields[SIMILARITY] = isfinite(mean) ? mean : 0.0;
  fields[INTERVAL] = (double)tracker->interval;
}

static qg_status gather(qg_par *par, const qg_optim *optim, int parameters, double *all)
{
  for (int id = 0; id < parameters; id++) {
    const qg_tracker *tracker = qg_optim_tracker(optim, id);
    if (tracker) describe(tracker, all + FIELDS * id);
  }
  return qg_par_sum(par, all, FIELDS * parameters);
}

/* One line of the table. */
typedef struct {
  double done, saved, similarity;
  int matrices, measured;
  double shortest, longest;
} row;

static void add(row *r, const double *fields)
{
  if (fields[INTERVAL] == 0.0) return;
  r->done += fields[DONE];
  r->saved += fields[SAVED];
  r->similarity += fields[SIMILARITY];
  r->measured += (int)fields[MEASURED];
  r->shortest = r->matrices ? fmin(r->shortest, fields[INTERVAL]) : fields[INTERVAL];
  r->longest = fmax(r->longest, fields[INTERVAL]);
  r->matrices++;
}

static void print(const qg_log *log, const char *name, const row *r)
{
  char similarity[16] = "-";
  if (r->matrices == 0) return;
  if (r->measured > 0) snprintf(similarity, sizeof similarity, "%.3f", r->similarity / r->measured);
  qg_log_raw(log, "%-12s %8d %8.0f %8.0f %6.1f%% %10s %6.0f to %.0f\n", name, r->matrices, r->done, r->saved,
             100.0 * r->saved / fmax(r->done + r->saved, 1.0), similarity, r->shortest, r->longest);
}

static row row_of(const qg_model_shape *shape, int layer, const double *all)
{
  row r = {0};
  for (int id = 0; id < qg_model_param_count(shape); id++)
    if (qg_model_param(shape, id).layer == layer) add(&r, all + FIELDS * id);
  return r;
}

static row total_of(int parameters, const double *all)
{
  row r = {0};
  for (int id = 0; id < parameters; id++) add(&r, all + FIELDS * id);
  return r;
}

static void print_table(const qg_log *log, const qg_model_shape *shape, const double *all)
{
  char name[32];
  row total = total_of(qg_model_param_count(shape), all), tables = row_of(shape, -1, all);
  if (total.matrices == 0) return;
  qg_log_raw(log, "\n%-12s %8s %8s %8s %7s %10s %s\n", "subspaces", "matrices", "done", "saved", "share",
             "similarity", "update gap");
  for (int layer = 0; layer < shape->num_layers; layer++) {
    row r = row_of(shape, layer, all);
    snprintf(name, sizeof name, "layer %d", layer);
    print(log, name, &r);
  }
  print(log, "embed, head", &tables);
  print(log, "all", &total);
}

/* Where a device was asked to validate its subspaces. */
static qg_status report_validation(qg_par *par, const qg_log *log, const qg_optim *optim)
{
  qg_subspace_validation v = qg_optim_validation(optim);
  double count = (double)v.count, lost = v.lost_energy, overlap = v.count > 0 ? v.overlap : 1.0;
  QG_TRY(qg_par_sum(par, &count, 1));
  QG_TRY(qg_par_max(par, &lost, 1));
  QG_TRY(qg_par_min(par, &overlap, 1));
  if (count > 0.0)
    qg_log_info(log,
                "validated   %.0f subspaces against singular vectors: energy at most %.1e below theirs, "
                "overlap at least %.6f",
                count, lost, overlap);
  return QG_OK;
}

qg_status qg_report_refreshes(qg_par *par, const qg_log *log, const qg_model_shape *shape,
                              const qg_optim *optim)
{
  int parameters = qg_model_param_count(shape);
  double *all = NULL;
  qg_status status;
  QG_TRY_OUT(qg_calloc(FIELDS * (size_t)parameters, sizeof *all, "the table of refreshes", (void **)&all));
  QG_TRY_OUT(gather(par, optim, parameters, all));
  print_table(log, shape, all);
  QG_TRY_OUT(report_validation(par, log, optim));
out:
  free(all);
  return status;
}
