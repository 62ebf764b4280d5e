#include "train/progress.h"

#include <string.h>

#include "qgalore/base.h"

void qg_progress_header(const qg_progress *p)
{
  qg_log_raw(p->log, "%9s %9s %9s %9s %9s %9s %6s %5s %8s %8s\n", "step", "tokens", "loss", "gradnorm", "lr",
             "tok/s", "%gemm", "refr", "memory", "left");
}

void qg_progress_clear(const qg_progress *p)
{
  qg_log_terminal(p->log, "\r\033[K");
}

/* All subspaces are new in the first step of a run: once there are others, it does not count. */
static double seconds_left(const qg_progress *p, int64_t done)
{
  double seconds = qg_now() - p->started, steps = (double)(done - p->first_step);
  if (steps > 1.0) seconds -= p->first_seconds, steps -= 1.0;
  return seconds / steps * (double)(p->steps - done);
}

static void draw_bar(const qg_progress *p, int64_t done, const char *left)
{
  enum { WIDTH = 40 };
  char bar[WIDTH + 1];
  int filled = (int)(WIDTH * done / qg_max_i64(p->steps, 1));
  memset(bar, '#', (size_t)filled);
  memset(bar + filled, '.', (size_t)(WIDTH - filled));
  bar[WIDTH] = '\0';
  qg_log_terminal(p->log, "[%s] %3d %%  step %lld of %lld  %s left ", bar,
                  (int)(100 * done / qg_max_i64(p->steps, 1)), (long long)done, (long long)p->steps, left);
}

void qg_progress_step(const qg_progress *p, int64_t done, int64_t tokens, const qg_step_result *r,
                      double seconds)
{
  char left[32], count[32], memory[32];
  qg_format_seconds(left, sizeof left, seconds_left(p, done));
  qg_progress_clear(p);
  if (done % p->log_every == 0 || done == p->steps || r->skipped) {
    double rate = (double)r->tokens / seconds;
    double share = p->peak_flops > 0.0 ? 100.0 * rate * p->flops_per_token / p->peak_flops : 0.0;
    qg_log_raw(p->log, "%9lld %9s %9.4f %9.4f %9.3e %9.0f %6.1f %5lld %8s %8s%s\n", (long long)done,
               qg_format_count(count, sizeof count, (double)tokens), r->loss, r->grad_norm, r->lr, rate,
               share, (long long)r->refreshes,
               qg_format_bytes(memory, sizeof memory, (double)qg_memory_peak()), left,
               r->skipped ? "  skipped: not finite" : "");
  }
  if (p->log->terminal && done < p->steps) draw_bar(p, done, left);
}

void qg_progress_validation(const qg_progress *p, int64_t done, const qg_validation_result *r)
{
  char bits[48] = ""; /* random tokens have no text */
  if (r->bits_per_byte > 0.0) snprintf(bits, sizeof bits, " (%.4f bits per byte)", r->bits_per_byte);
  qg_progress_clear(p);
  qg_log_raw(p->log, "%9lld validation loss %.4f nats per token%s over %lld tokens\n", (long long)done,
             r->loss, bits, (long long)r->tokens);
}
