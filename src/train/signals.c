#include "train/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t save_requested, stop_requested, ends;

static void on_save(int number)
{
  (void)number;
  save_requested = 1;
}

static void on_stop(int number)
{
  (void)number;
  stop_requested = 1;
}

/* A batch system may follow USR2 by TERM while the run saves as it was asked to: only a second TERM or INT
 * means now. */
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

void qg_signals_install(void)
{
  install(SIGUSR1, on_save);
  install(SIGUSR2, on_stop);
  install(SIGTERM, on_end);
  install(SIGINT, on_end);
}

void qg_signals_let_end(void)
{
  install(SIGTERM, SIG_DFL);
  install(SIGINT, SIG_DFL);
}

bool qg_signals_take_save(void)
{
  bool wanted = save_requested;
  save_requested = 0;
  return wanted;
}

bool qg_signals_stop(void)
{
  return stop_requested;
}
