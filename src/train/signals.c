#include "train/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t save_requested, stop_requested;

static void on_save(int number)
{
  (void)number;
  save_requested = 1;
}

static void on_stop(int number)
{
  if (stop_requested && number != SIGUSR2) _exit(1);
  stop_requested = 1;
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
  install(SIGTERM, on_stop);
  install(SIGINT, on_stop);
}

int qg_signals_take(void)
{
  if (stop_requested) return QG_REQUEST_STOP;
  if (!save_requested) return QG_REQUEST_NONE;
  save_requested = 0;
  return QG_REQUEST_SAVE;
}
