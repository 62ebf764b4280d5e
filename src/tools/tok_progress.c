#include "tools/tok_progress.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qgalore/base.h"

/* 0 if one of them is no file: nobody knows how long standard input is. */
static int64_t total_bytes(char *const *texts, int count)
{
  int64_t total = 0;
  struct stat info;
  for (int i = 0; i < count; i++) {
    if (stat(texts[i], &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    total += info.st_size;
  }
  return total;
}

tok_progress tok_progress_begin(double interval, char *const *texts, int count)
{
  bool terminal = isatty(STDERR_FILENO);
  double now = qg_now();
  return (tok_progress){.interval = interval < 0.0 ? (terminal ? 1.0 : 30.0) : interval,
                        .terminal = terminal,
                        .started = now,
                        .told = now,
                        .total = total_bytes(texts, count)};
}

static void tell(tok_progress *p, double now)
{
  char left[32];
  double rate = (double)p->done / (now - p->started);
  fprintf(stderr, "%sqgalore_tok: %.1f MB done, %.1f MB/s", p->terminal ? "\r" : "", (double)p->done / 1e6,
          rate / 1e6);
  if (p->total > p->done)
    fprintf(stderr, ", %.0f %%, %s left", 100.0 * (double)p->done / (double)p->total,
            qg_format_seconds(left, sizeof left, (double)(p->total - p->done) / rate));
  fputs(p->terminal ? "\033[K" : "\n", stderr);
  p->told = now;
  p->shown = true;
}

void tok_progress_add(tok_progress *p, int64_t bytes)
{
  double now = qg_now();
  p->done += bytes;
  if (p->interval > 0.0 && now - p->told >= p->interval) tell(p, now);
}

void tok_progress_end(tok_progress *p)
{
  if (p->shown && p->terminal) fputs("\r\033[K", stderr);
  p->shown = false;
}
