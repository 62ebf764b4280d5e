#include "app/summary.h"

#include <string.h>

#include "qgalore/base.h"

/* One word of a shell command: in quotes where a shell would take it apart. */
static void print_word(const qg_log *log, const char *word)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (word[0] && word[strspn(word, plain)] == '\0') {
    qg_log_raw(log, " %s", word);
    return;
  }
  qg_log_raw(log, " '");
  for (const char *p = word; *p; p++)
    if (*p == '\'') qg_log_raw(log, "'\\''");
    else
      qg_log_raw(log, "%c", *p);
  qg_log_raw(log, "'");
}

static bool sets(const char *override, const char *key)
{
  size_t length = strlen(key);
  return strncmp(override, key, length) == 0 && override[length] == '=';
}

/* What was said about the beginning would begin again. steps > 0: in place of train.steps. */
static void print_command(const qg_log *log, const qg_app_options *o, int ranks, int64_t steps)
{
  qg_log_raw(log, "  mpirun -np %d", ranks);
  print_word(log, o->program);
  print_word(log, o->file);
  for (int i = 0; i < o->overrides; i++) {
    const char *override = o->override[i];
    bool spent = sets(override, "run.restart") || sets(override, "run.overwrite");
    if (!spent && !(steps > 0 && sets(override, "train.steps"))) print_word(log, override);
  }
  if (steps > 0) qg_log_raw(log, " train.steps=%lld", (long long)steps);
  qg_log_raw(log, "\n");
}

void qg_summary_print(const qg_log *log, const qg_app_options *options, int ranks, const qg_train_summary *s)
{
  char tokens[32];
  static const char *const early[] = {"", "by a signal", "because run.max_walltime is near",
                                      "by the STOP file"};
  if (s->reason != QG_STOP_FINISHED) {
    qg_log_info(log, "stopped   %s; the run goes on with", early[s->reason]);
    print_command(log, options, ranks, 0);
    return;
  }
  qg_log_info(log, "finished  all %lld steps done, %s tokens; the run goes on with more of them:",
              (long long)s->step, qg_format_count(tokens, sizeof tokens, (double)s->tokens));
  print_command(log, options, ranks, 2 * s->step);
}
