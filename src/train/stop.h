/* When to stop: the walltime rule, the STOP file, requests. */
#ifndef QG_TRAIN_STOP_H
#define QG_TRAIN_STOP_H

#include <stdbool.h>

typedef struct {
  double started;  /* qg_now() of the job's start, before MPI was up */
  double walltime; /* seconds, 0: none */
  double longest_step, longest_save;
  const char *stop_file;
} qg_stop_watch;

/* True when what remains of the walltime is under 1.5 x the longest save + 2 x the longest step + 30 s:
 * stopping too late loses work, stopping a step early loses a step. Pure apart from the clock. */
bool qg_stop_walltime_due(const qg_stop_watch *watch, double now);
bool qg_stop_file_exists(const qg_stop_watch *watch);

#endif
