#include "app/report.h"

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

/* Clang's version text begins with its name, GCC's is the number alone. */
#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

void qg_report_banner(const qg_log *log)
{
  qg_log_info(log, "qgalore_hpc %s (%s), %s", QG_VERSION, QG_GIT, COMPILER);
}

void qg_report_version(FILE *out)
{
  fprintf(out, "qgalore_hpc %s (%s)\ncompiler: %s\noneDNN: %s\n", QG_VERSION, QG_GIT, COMPILER,
          QG_HAVE_ONEDNN ? "yes" : "no (OpenBLAS only)");
}

typedef struct {
  char host[64], backend[160], choice[160];
  int threads, first_layer, num_layers, has_embedding, has_head;
} rank_line;

static void print_rank(const qg_log *log, int rank, const rank_line *line)
{
  char layers[32] = "-";
  if (line->num_layers == 1) snprintf(layers, sizeof layers, "%d", line->first_layer);
  if (line->num_layers > 1)
    snprintf(layers, sizeof layers, "%d-%d", line->first_layer, line->first_layer + line->num_layers - 1);
  qg_log_raw(log, "%5d %-16s %7d %-9s %-5s %-5s %s%s%s\n", rank, line->host, line->threads, layers,
             line->has_embedding ? "yes" : "", line->has_head ? "yes" : "", line->backend,
             line->choice[0] ? "; " : "", line->choice);
}

qg_status qg_report_ranks(qg_par *par, const qg_log *log, const qg_backend *be, const qg_partition *part)
{
  const qg_grid *grid = qg_par_grid(par);
  rank_line mine = {.threads = be->threads,
                    .first_layer = part->first_layer,
                    .num_layers = part->num_layers,
                    .has_embedding = part->has_embedding,
                    .has_head = part->has_head};
  rank_line *all = NULL;
  snprintf(mine.host, sizeof mine.host, "%s", grid->host);
  snprintf(mine.backend, sizeof mine.backend, "%s", be->description);
  snprintf(mine.choice, sizeof mine.choice, "%s", be->choice);
  qg_status status;
  QG_TRY_OUT(qg_calloc((size_t)grid->size, sizeof *all, "rank table", (void **)&all));
  QG_TRY_OUT(qg_par_gather(par, &mine, sizeof mine, all, 0));
  qg_log_raw(log, "\n%5s %-16s %7s %-9s %-5s %-5s %s\n", "rank", "host", "threads", "layers", "embed", "head",
             "backend");
  if (qg_par_is_root(grid))
    for (int rank = 0; rank < grid->size; rank++) print_rank(log, rank, &all[rank]);
out:
  free(all);
  return status;
}

void qg_report_input(const qg_log *log, const qg_config *config)
{
  char *text = NULL;
  if (qg_config_resolved(config, &text) != QG_OK) return;
  qg_log_raw(log, "\n");
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (*line != '#') qg_log_raw(log, "  %s\n", line);
  free(text);
}

/* Over ranks, of each phase. */
typedef struct {
  double low[QG_PHASE_COUNT], high[QG_PHASE_COUNT], mean[QG_PHASE_COUNT];
} spread;

static qg_status gather_spread(qg_par *par, const double *seconds, spread *s)
{
  memcpy(s->low, seconds, sizeof s->low);
  memcpy(s->high, seconds, sizeof s->high);
  memcpy(s->mean, seconds, sizeof s->mean);
  QG_TRY(qg_par_min(par, s->low, QG_PHASE_COUNT));
  QG_TRY(qg_par_max(par, s->high, QG_PHASE_COUNT));
  QG_TRY(qg_par_sum(par, s->mean, QG_PHASE_COUNT));
  for (int p = 0; p < QG_PHASE_COUNT; p++) s->mean[p] /= qg_par_grid(par)->size;
  return QG_OK;
}

qg_status qg_report_timing(qg_par *par, const qg_log *log, const qg_timers *timers, double seconds)
{
  spread host, device;
  double clocks = timers->clock.device ? 1.0 : 0.0;
  QG_TRY(gather_spread(par, timers->seconds, &host));
  QG_TRY(gather_spread(par, timers->device_seconds, &device));
  QG_TRY(qg_par_max(par, &clocks, 1));
  qg_log_raw(log, "\n%-12s %10s %10s %10s %7s%s\n", "phase", "min s", "mean s", "max s", "share",
             clocks > 0.0 ? "   device s" : "");
  for (int p = 0; p < QG_PHASE_COUNT; p++) {
    qg_log_raw(log, "%-12s %10.2f %10.2f %10.2f %6.1f%%", qg_phase_name((qg_phase)p), host.low[p],
               host.mean[p], host.high[p], 100.0 * host.mean[p] / seconds);
    if (clocks > 0.0) qg_log_raw(log, " %10.2f", device.mean[p]);
    qg_log_raw(log, "\n");
  }
  return QG_OK;
}

static qg_status report_host(qg_par *par, const qg_log *log, size_t planned)
{
  double both[2] = {(double)planned, (double)qg_memory_peak()};
  char a[32], b[32];
  QG_TRY(qg_par_max(par, both, 2));
  qg_log_info(log, "\nmemory    fullest rank: planned %s, measured peak %s (%.1f %%)",
              qg_format_bytes(a, sizeof a, both[0]), qg_format_bytes(b, sizeof b, both[1]),
              100.0 * both[1] / both[0]);
  return QG_OK;
}

/* Devices tell what all processes use together; a training gives nothing back and takes nothing after the
 * first step. */
static qg_status report_device(qg_par *par, const qg_log *log, qg_backend *be, const qg_mem *mem)
{
  char a[32], b[32], c[32];
  size_t free, total;
  QG_TRY(be->ops->memory_info(be, &free, &total));
  double all[3] = {(double)qg_mem_space(mem, QG_SPACE_DEVICE), (double)qg_mem_bytes(mem, QG_OWNER_CONTEXT),
                   (double)(total - free)};
  QG_TRY(qg_par_max(par, all, 3));
  qg_log_info(log, "device    fullest rank: planned %s with %s for the context, in use on its device %s",
              qg_format_bytes(a, sizeof a, all[0]), qg_format_bytes(b, sizeof b, all[1]),
              qg_format_bytes(c, sizeof c, all[2]));
  return QG_OK;
}

qg_status qg_report_memory(qg_par *par, const qg_log *log, qg_backend *be, const qg_mem *mem)
{
  if (be->ops->unified_memory) return report_host(par, log, qg_mem_total(mem));
  QG_TRY(report_host(par, log, qg_mem_space(mem, QG_SPACE_HOST)));
  return report_device(par, log, be, mem);
}
