/* What users and batch systems ask of a running job. The only global state of the program is the flag behind
 * this. USR1: save and go on.  USR2, TERM, INT: save and stop after this step; a second TERM or INT ends at
 * once. */
#ifndef QG_TRAIN_SIGNALS_H
#define QG_TRAIN_SIGNALS_H

/* Weights of a request inside the sum that the step reduces: any number of ranks may add the same one. */
enum { QG_REQUEST_NONE = 0, QG_REQUEST_SAVE = 1, QG_REQUEST_STOP = 1 << 16 };

void qg_signals_install(void);
/* Takes the pending request: QG_REQUEST_*. A stop stays pending. */
int qg_signals_take(void);

#endif
