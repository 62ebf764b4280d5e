/* Results of calls, and the one message a user sees.
 *
 * Every fallible function returns a qg_status. The values are the exit codes of
 * the programs (doc/manual.md, "Exit codes"), so a status travels unchanged from
 * the call that failed to the shell.
 *
 * The message and the trace of the call that failed are kept per thread, like
 * errno: they describe the last failure and nothing else depends on them. */
#ifndef QGALORE_BASE_STATUS_H
#define QGALORE_BASE_STATUS_H

typedef enum {
  QG_OK = 0,
  QG_ERR_RUNTIME = 1,    /* a library or system call failed, or a promise of ours was broken */
  QG_ERR_INPUT = 2,      /* the user's input is wrong: the message says where and what to do */
  QG_ERR_CHECKPOINT = 3, /* a checkpoint is missing, damaged or does not fit the input */
  QG_ERR_RESOURCE = 4,   /* not enough memory, disk, ranks or devices */
  QG_ERR_NUMERICAL = 5,  /* training left the finite numbers */
  QG_ERR_HANG = 6        /* no step finished within run.watchdog */
} qg_status;

/* Records the failure (printf-style message: what, where, what to do) and returns `code`. Local. */
qg_status qg_error_raise(qg_status code, const char *file, int line, const char *func,
                         const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Adds one line to the trace of the current failure and returns `status`. Local. */
qg_status qg_error_frame(qg_status status, const char *file, int line, const char *func);

/* The message of the last failure, "" if none. Valid until the next failure in this thread. */
const char *qg_error_message(void);

/* One "  at function (file:line)" line per frame, innermost first; "" if none. */
const char *qg_error_trace(void);

/* Forgets the last failure, for callers that recovered from it. */
void qg_error_clear(void);

/* Replaces message and status wholesale: used to show another rank's failure as one's own. */
qg_status qg_error_adopt(qg_status code, const char *message);

/* Fails with a message. */
#define QG_FAIL(code, ...) qg_error_raise((code), __FILE__, __LINE__, __func__, __VA_ARGS__)

/* Returns from the function if the condition does not hold. Never compiled out. */
#define QG_CHECK(cond, code, ...)                        \
  do {                                                   \
    if (!(cond)) return QG_FAIL((code), __VA_ARGS__);    \
  } while (0)

/* Returns from the function if the call failed. */
#define QG_TRY(call)                                                        \
  do {                                                                      \
    qg_status qg_try_status_ = (call);                                      \
    if (qg_try_status_ != QG_OK)                                            \
      return qg_error_frame(qg_try_status_, __FILE__, __LINE__, __func__);  \
  } while (0)

/* The same for functions with cleanup: needs a local `qg_status status` and a label `out`. */
#define QG_TRY_OUT(call)                                                \
  do {                                                                  \
    status = (call);                                                    \
    if (status != QG_OK) {                                              \
      qg_error_frame(status, __FILE__, __LINE__, __func__);             \
      goto out;                                                         \
    }                                                                   \
  } while (0)
#define QG_CHECK_OUT(cond, code, ...)                  \
  do {                                                 \
    if (!(cond)) {                                     \
      status = QG_FAIL((code), __VA_ARGS__);           \
      goto out;                                        \
    }                                                  \
  } while (0)

#endif
