/* The list of everything that is wrong with an input, one line each. */
#ifndef QG_CONFIG_PROBLEMS_H
#define QG_CONFIG_PROBLEMS_H

#include <stddef.h>

#include "qgalore/base/status.h"

/* As many lines as fit the message of a qg_status; the rest is counted. */
enum { QG_PROBLEMS_BYTES = 1900 };

typedef struct {
  char text[QG_PROBLEMS_BYTES];
  size_t used;
  int count, left_out;
} qg_problems;

/* Adds "origin: what". Local. */
void qg_problems_add(qg_problems *problems, const char *origin, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* QG_OK if there are none, else `code` with all lines as message. Local. */
qg_status qg_problems_raise(const qg_problems *problems, qg_status code);

#endif
