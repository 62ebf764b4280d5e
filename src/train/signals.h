/* What users and batch systems ask of a running job. The only global state of the program are the flags
 * behind this. USR1: save and go on. USR2, TERM, INT: save and stop after this step; a second TERM or INT
 * ends at once. */
#ifndef QG_TRAIN_SIGNALS_H
#define QG_TRAIN_SIGNALS_H

#include <stdbool.h>

/* Signals that arrive before the first step wait for it. */
void qg_signals_install(void);
/* TERM and INT end this process again: for a rank that has failed, and should leave when the launcher says
 * so. */
void qg_signals_let_end(void);
/* Takes a pending request to save. */
bool qg_signals_take_save(void);
/* A request to stop stays. */
bool qg_signals_stop(void);

#endif
