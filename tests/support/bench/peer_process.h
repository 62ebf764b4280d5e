/* Programs that a bench compares with, as processes of their own, so that programs in any language take turns
 * on the same machine and each has its own peak of memory.
 *
 * One line a message. A peer prints "ready NUMBERS..." when it is warm; then it answers every line of
 * its input, the name of a command, with "ok NUMBERS...", and "quit" with "ok PEAK_BYTES". Other lines
 * come from libraries and are ignored. tests/bench/peers/serve.py is the same in Python. */
#ifndef QG_TESTS_PEER_PROCESS_H
#define QG_TESTS_PEER_PROCESS_H

#include <stdio.h>
#include <sys/types.h>

#include "qgalore/base/status.h"

typedef struct {
  pid_t pid; /* 0: not running */
  FILE *to, *from;
} peer_process;

/* The environment in which PyTorch is at its best on two cores: no page faults for activations that are freed
 * and taken again. */
extern const char *const peer_tuned_torch[];

/* Starts argv with `environment` ("NAME=VALUE", NULL-terminated, or NULL) added and waits until it is ready.
 * numbers[count] receives what it says. */
qg_status peer_start(const char *const argv[], const char *const environment[], double *numbers, int count,
                     peer_process *out);
qg_status peer_ask(peer_process *c, const char *command, double *numbers, int count);
/* Ends it; one that is not running is fine. Its peak of resident memory in bytes, or NULL. */
qg_status peer_quit(peer_process *c, double *peak_bytes);

/* The other side: one command of a peer, which prints its numbers after "ok" without the end of the
 * line. */
typedef struct {
  const char *name;
  qg_status (*run)(void *state);
} peer_command;

/* Answers commands until "quit" or the end of input. Say "ready" before. */
qg_status peer_serve(const peer_command *commands, int count, void *state);

#endif
