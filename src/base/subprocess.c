#include "qgalore/base/subprocess.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qgalore/base.h"

/* A structure is some kilobytes; a loop in it must end. */
enum { CPU_SECONDS = 10 };

typedef struct {
  qg_status status;
  char message[1024], result[QG_SUBPROCESS_RESULT];
} answer;
_Static_assert(sizeof(answer) <= PIPE_BUF, "an answer is written at once");

/* A crash is an answer: no trace of it from MPI, no core. */
static void crash_quietly(void)
{
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  const struct rlimit no_core = {0, 0}, seconds = {CPU_SECONDS, CPU_SECONDS};
  for (int i = 0; i < QG_COUNT_OF(signals); i++) signal(signals[i], SIG_DFL);
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_CPU, &seconds);
}

_Noreturn static void run_in_child(qg_subprocess_task task, const void *given, int out)
{
  answer a = {0};
  crash_quietly();
  a.status = task(given, a.result);
  snprintf(a.message, sizeof a.message, "%s", a.status == QG_OK ? "" : qg_error_message());
  ssize_t written = write(out, &a, sizeof a);
  _exit(written == (ssize_t)sizeof a ? 0 : 1);
}

static bool read_answer(int in, answer *out)
{
  ssize_t bytes;
  do bytes = read(in, out, sizeof *out);
  while (bytes < 0 && errno == EINTR);
  return bytes == (ssize_t)sizeof *out;
}

static void wait_for(pid_t child)
{
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
}

static qg_status run_here(qg_subprocess_task task, const void *given, void *result, bool *answered)
{
  *answered = true;
  return task(given, result);
}

qg_status qg_subprocess_run(qg_subprocess_task task, const void *given, size_t given_bytes, void *result,
                            size_t result_bytes, bool *answered)
{
  int ends[2];
  answer a;
  (void)given_bytes; /* the child inherits them */
  QG_CHECK(result_bytes <= sizeof a.result, QG_ERR_RUNTIME, "an answer of %zu bytes", result_bytes);
  if (pipe(ends) != 0) return run_here(task, given, result, answered);
  pid_t child = fork();
  if (child == 0) run_in_child(task, given, ends[1]);
  close(ends[1]);
  *answered = child > 0 && read_answer(ends[0], &a);
  close(ends[0]);
  if (child < 0) return run_here(task, given, result, answered);
  wait_for(child);
  if (!*answered) return QG_OK;
  if (result_bytes > 0) memcpy(result, a.result, result_bytes);
  return a.status == QG_OK ? QG_OK : QG_FAIL(a.status, "%s", a.message);
}
