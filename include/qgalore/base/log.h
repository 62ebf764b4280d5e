/* The log: what a user reads while a job runs. Only the root rank writes; on the
 * others a qg_log is silent, so modules log without asking who they are. */
#ifndef QGALORE_BASE_LOG_H
#define QGALORE_BASE_LOG_H

#include <stdbool.h>
#include <stdio.h>

typedef struct {
  FILE *out;     /* NULL: silent */
  FILE *file;    /* gets the same, but for progress bars; NULL: none */
  bool terminal; /* out is a terminal: progress bars are allowed */
} qg_log;

/* A log to `out` on the root rank, a silent one elsewhere. */
qg_log qg_log_make(FILE *out, bool root);

/* From here on a copy of what is logged is appended to the file `path`. A failure is a warning in the log: nothing depends on
 * the copy. Close with qg_log_close_file. */
void qg_log_open_file(qg_log *log, const char *path);
void qg_log_close_file(qg_log *log);

/* One line, newline added, flushed. */
void qg_log_info(const qg_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line that begins with "warning: ". */
void qg_log_warn(const qg_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text as it is, without a newline; for tables. */
void qg_log_raw(const qg_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same where there is a terminal, and nowhere else; for progress bars. */
void qg_log_terminal(const qg_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line in the file alone, for what is printed elsewhere. */
void qg_log_file_only(const qg_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
