#include "app/status.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "qgalore/base.h"
#include "train/metrics.h"
#include "train/run_folder.h"

/* What a state means for its reader. */
static const char *meaning_of(const char *state)
{
  static const char *const meanings[][2] = {
      {"running", "or ended without a word: then the time of the last step below stands still"},
      {"finished", "all steps are done"},
      {"resume", "stopped early; the same command goes on"},
      {"failed", "the reason says what to do"},
  };
  for (int i = 0; i < QG_COUNT_OF(meanings); i++)
    if (strcmp(meanings[i][0], state) == 0) return meanings[i][1];
  return "not a state of this version";
}

/* Seconds since the last line of metrics; negative: there are none. */
static double seconds_since_metrics(const char *folder)
{
  char path[4096];
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

qg_status qg_status_print(FILE *out, const char *folder)
{
  qg_run_status status;
  QG_TRY(qg_run_folder_read_status(folder, &status));
  /* A run that had ended may be started again for fewer steps. */
  double share = status.steps > 0 ? fmin(100.0, 100.0 * (double)status.step / (double)status.steps) : 0.0;
  fprintf(out, "run         %s\n", folder);
  fprintf(out, "state       %s (%s)\n", status.state, meaning_of(status.state));
  fprintf(out, "reason      %s, %s\n", status.reason, status.updated);
  if (status.step == 0) fprintf(out, "checkpoint  none yet of %lld steps\n", (long long)status.steps);
  else
    fprintf(out, "checkpoint  step %lld of %lld (%.1f %%)\n", (long long)status.step, (long long)status.steps,
            share);
  print_last_step(out, folder);
  return QG_OK;
}
