#include "app/status.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/metrics.h"
#include "train/run_folder.h"

/* What a state means for its reader; of a running one the lock tells. */
static const char *meaning_of(const char *state, qg_holder holder)
{
  static const char *const running[] = {
      [QG_HOLDER_NONE] =
          "but no process holds the folder: it was killed, or its node died; the same command goes on",
      [QG_HOLDER_LIVES] = "its process lives",
      [QG_HOLDER_UNKNOWN] = "or ended without a word: then the time of the last step below stands still"};
  static const char *const meanings[][2] = {
      {"finished", "all steps are done"},
      {"resume", "stopped early; the same command goes on"},
      {"failed", "the reason says what to do"},
  };
  if (strcmp(state, "running") == 0) return running[holder];
  for (int i = 0; i < QG_COUNT_OF(meanings); i++)
    if (strcmp(meanings[i][0], state) == 0) return meanings[i][1];
  return "not a state of this version";
}

/* Seconds since the last line of metrics; negative: there are none. */
static double seconds_since_metrics(const char *folder)
{
  char path[4352];
  struct stat info;
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  return stat(path, &info) == 0 ? difftime(time(NULL), info.st_mtime) : -1.0;
}

static void print_last_step(FILE *out, const char *folder)
{
  char tokens[32], age[32];
  qg_metrics_last last = qg_metrics_read_last(folder);
  double seconds = seconds_since_metrics(folder);
  if (last.step < 0 || seconds < 0.0) return;
  fprintf(out, "last step   %lld, %s tokens, loss %.4f, %s ago\n", (long long)last.step,
          qg_format_count(tokens, sizeof tokens, (double)last.tokens), last.loss,
          qg_format_seconds(age, sizeof age, seconds));
}

static qg_status print_one(FILE *out, const char *folder)
{
  char who[128] = "";
  qg_run_status status;
  QG_TRY(qg_run_folder_read_status(folder, &status));
  qg_holder holder = qg_run_folder_holder(folder, who, sizeof who);
  /* A run that had ended may be started again for fewer steps. */
  double share = status.steps > 0 ? fmin(100.0, 100.0 * (double)status.step / (double)status.steps) : 0.0;
  fprintf(out, "run         %s\n", folder);
  fprintf(out, "state       %s (%s)\n", status.state, meaning_of(status.state, holder));
  if (holder == QG_HOLDER_LIVES) fprintf(out, "held by     %s\n", who);
  fprintf(out, "reason      %s, %s\n", status.reason, status.updated);
  if (status.step == 0) fprintf(out, "checkpoint  none yet of %lld steps\n", (long long)status.steps);
  else
    fprintf(out, "checkpoint  step %lld of %lld (%.1f %%)\n", (long long)status.step, (long long)status.steps,
            share);
  print_last_step(out, folder);
  return QG_OK;
}

static int is_visible(const struct dirent *entry)
{
  return entry->d_name[0] != '.';
}

/* One line of a run in a folder of runs. False: it is none. */
static bool print_line(FILE *out, const char *runs, const char *name)
{
  char folder[4300], who[128], age[32] = "-";
  qg_run_status status;
  snprintf(folder, sizeof folder, "%s/%s", runs, name);
  if (qg_run_folder_read_status(folder, &status) != QG_OK) return false;
  qg_holder holder = qg_run_folder_holder(folder, who, sizeof who);
  bool gone = strcmp(status.state, "running") == 0 && holder == QG_HOLDER_NONE;
  qg_metrics_last last = qg_metrics_read_last(folder);
  double seconds = seconds_since_metrics(folder);
  if (seconds >= 0.0) qg_format_seconds(age, sizeof age, seconds);
  fprintf(out, "%-24s %-9s %9lld of %-9lld %9.4f %8s  %s\n", name, gone ? "killed" : status.state,
          (long long)qg_max_i64(last.step, 0), (long long)status.steps, last.loss, age, status.reason);
  return true;
}

static qg_status print_all(FILE *out, const char *runs)
{
  struct dirent **entries;
  int shown = 0, count = scandir(runs, &entries, is_visible, alphasort);
  QG_CHECK(count >= 0, QG_ERR_INPUT, "%s: %s", runs, strerror(errno));
  fprintf(out, "%-24s %-9s %9s    %-9s %9s %8s  %s\n", "run", "state", "step", "steps", "loss", "ago",
          "reason");
  for (int i = 0; i < count; i++) {
    shown += print_line(out, runs, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  QG_CHECK(shown > 0, QG_ERR_INPUT,
           "%s has no status file, and no run in it either: not a run's folder, or the run never started",
           runs);
  return QG_OK;
}

qg_status qg_status_print(FILE *out, const char *folder)
{
  char path[4352];
  snprintf(path, sizeof path, "%s/status", folder);
  return access(path, F_OK) == 0 ? print_one(out, folder) : print_all(out, folder);
}
