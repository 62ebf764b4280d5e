#include "train/stop.h"

#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "qgalore/base.h"

static volatile sig_atomic_t save_requested, stop_requested, stops, ends;

static void on_save(int number)
{
  (void)number;
  save_requested = 1;
}

static void on_stop(int number)
{
  (void)number;
  stop_requested = 1;
  stops++;
}

int qg_stop_signals(void)
{
  return stops;
}

/* A batch system may send TERM after USR2, while the run saves as it was asked to. So only a second TERM or
 * INT ends the process at once. */
static void on_end(int number)
{
  if (ends++ > 0) _exit(1);
  on_stop(number);
}

static void install(int number, void (*handler)(int))
{
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, NULL);
}

/* A terminal that closes hangs up once. Whoever started the program with nohup wants it to go on. */
static void catch_hangup(void)
{
  struct sigaction now;
  if (sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler != SIG_IGN) install(SIGHUP, on_stop);
}

void qg_stop_catch_signals(void)
{
  install(SIGUSR1, on_save);
  install(SIGUSR2, on_stop);
  install(SIGTERM, on_end);
  install(SIGINT, on_end);
  catch_hangup();
}

void qg_stop_restore_signals(void)
{
  install(SIGTERM, SIG_DFL);
  install(SIGINT, SIG_DFL);
}

bool qg_stop_walltime_due(const qg_stop_watch *watch, double now)
{
  if (watch->walltime <= 0.0) return false;
  double remaining = watch->walltime - (now - watch->started);
  return remaining < 1.5 * watch->longest_save + 2.0 * watch->longest_step + 30.0;
}

static bool take_save(void)
{
  bool wanted = save_requested;
  save_requested = 0;
  return wanted;
}

static bool save_is_due(const qg_stop_watch *watch, double now)
{
  return watch->save_every > 0.0 && !watch->bad_step && now - watch->last_save >= watch->save_every;
}

static qg_request request_of(const qg_stop_watch *watch)
{
  if (watch->root && qg_stop_walltime_due(watch, qg_now())) return QG_REQUEST_WALLTIME;
  if (watch->root && access(watch->stop_file, F_OK) == 0) return QG_REQUEST_STOP_FILE;
  if (stop_requested) return QG_REQUEST_SIGNAL;
  return take_save() || (watch->root && save_is_due(watch, qg_now())) ? QG_REQUEST_SAVE : QG_REQUEST_NONE;
}

static double weight(qg_request request)
{
  return request == QG_REQUEST_NONE ? 0.0 : ldexp(1.0, 16 * ((int)request - 1));
}

double qg_stop_cast_vote(const void *watch)
{
  return weight(request_of(watch));
}

qg_request qg_stop_decide(double sum)
{
  qg_request request = QG_REQUEST_WALLTIME;
  while (request > QG_REQUEST_NONE && sum < weight(request)) request--;
  return request;
}
