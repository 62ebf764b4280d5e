/* What qgalore_tok says of itself while it works, on standard error. */
#ifndef QG_TOOLS_TOK_PROGRESS_H
#define QG_TOOLS_TOK_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  double interval; /* seconds between two lines; 0: none */
  bool terminal;   /* one line that is written again and again */
  bool shown;      /* there is such a line */
  double started, told;
  int64_t done, total; /* bytes of text; total 0: unknown */
} tok_progress;

/* Of these texts; interval < 0: a second on a terminal, half a minute elsewhere. */
tok_progress tok_progress_begin(double interval, char *const *texts, int count);
/* `bytes` more of text are done. */
void tok_progress_add(tok_progress *progress, int64_t bytes);
/* Removes the line of a terminal. */
void tok_progress_end(tok_progress *progress);

#endif
