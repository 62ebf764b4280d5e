/* When to save and when to stop: signals, the STOP file, the walltime rule. Every rank casts a vote. What all
 * ranks do is decided from the sum of the votes, which is part of a reduction that the loop makes anyway.
 *
 * Signals: USR1: save and go on. USR2, TERM, INT, HUP: save and stop after this step; a second TERM or INT
 * ends the process at once. Their flags are the only global state of the program. */
#ifndef QG_TRAIN_STOP_H
#define QG_TRAIN_STOP_H

#include <stdbool.h>

/* From here on signals are requests. Those that arrive before the first step wait for it. */
void qg_stop_catch_signals(void);
/* TERM and INT end this process again: for a rank that has failed, and has to exit when the launcher says so.
 */
void qg_stop_restore_signals(void);

/* A later one overrules an earlier one; from QG_REQUEST_SIGNAL on the run saves and stops. */
typedef enum {
  QG_REQUEST_NONE,
  QG_REQUEST_SAVE,
  QG_REQUEST_SIGNAL,
  QG_REQUEST_STOP_FILE,
  QG_REQUEST_WALLTIME
} qg_request;

typedef struct {
  bool root;       /* looks at clock and folder; signals may reach any rank */
  double started;  /* qg_now() of the job's start, before MPI was up */
  double walltime; /* seconds, 0: none */
  double longest_step, longest_save;
  double save_every; /* seconds between saves, 0: none by time */
  double last_save;  /* qg_now() when the last one began */
  bool bad_step;     /* the last step was skipped: nothing to save */
  const char *stop_file;
} qg_stop_watch;

/* Signals to stop that this process has got so far. */
int qg_stop_signals(void);

/* True when what remains of the walltime is under 1.5 x the longest save + 2 x the longest step + 30 s:
 * stopping too late loses work, stopping a step early loses a step. Pure. */
bool qg_stop_walltime_due(const qg_stop_watch *watch, double now);

/* This rank's vote as a term of the sum: 65536^(request - 1), so that up to 65535 ranks may add the same one.
 * `watch` is a qg_stop_watch. Takes a pending request to save; a request to stop stays. Local. */
double qg_stop_cast_vote(const void *watch);

/* The strongest request in a sum of votes, the same on all ranks. Pure. */
qg_request qg_stop_decide(double sum);

#endif
