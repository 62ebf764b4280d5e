/* In place of src/base/apart.c: the process stays and does one task after the other, so that thousands of
 * files a second go through it. It is made again after a crash. */
#include "qgalore/apart.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qgalore/base.h"

enum { GIVEN_BYTES = 8192, TASKS_BEFORE_REPLACEMENT = 20000, TASK_SECONDS = 10 };

typedef struct {
  qg_apart_task task; /* the same address in both processes */
  char given[GIVEN_BYTES];
} question;

typedef struct {
  qg_status status;
  char message[1024], result[QG_APART_BYTES];
} answer;

/* Of the sanitizers, where they are linked; libFuzzer writes its artifact there. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static pid_t child = -1;
static int line = -1, tasks;

/* A crash is an answer, so neither a sanitizer nor a fuzzer is to speak of it. */
_Noreturn static void serve(int in)
{
  static question q;
  static answer a;
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
  for (int i = 0; i < QG_COUNT_OF(signals); i++) signal(signals[i], SIG_DFL);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(NULL);
  close(STDERR_FILENO);
  while (recv(in, &q, sizeof q, MSG_WAITALL) == (ssize_t)sizeof q) {
    alarm(TASK_SECONDS);
    a.status = q.task(q.given, a.result);
    snprintf(a.message, sizeof a.message, "%s", a.status == QG_OK ? "" : qg_error_message());
    if (send(in, &a, sizeof a, 0) != (ssize_t)sizeof a) break;
  }
  _exit(0);
}

static void dismiss(void)
{
  if (child <= 0) return;
  close(line);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  child = -1;
}

static bool engage(void)
{
  static bool registered;
  int ends[2];
  if (tasks++ % TASKS_BEFORE_REPLACEMENT == 0) dismiss();
  if (child > 0) return true;
  if (!registered) registered = atexit(dismiss) == 0;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return false;
  child = fork();
  if (child == 0) {
    close(ends[0]);
    serve(ends[1]);
  }
  close(ends[1]);
  line = ends[0];
  return child > 0;
}

qg_status qg_run_apart(qg_apart_task task, const void *given, size_t given_bytes, void *result,
                       size_t result_bytes, bool *answered)
{
  static question q;
  static answer a;
  QG_CHECK(given_bytes <= sizeof q.given && result_bytes <= sizeof a.result, QG_ERR_RUNTIME,
           "too many bytes");
  QG_CHECK(engage(), QG_ERR_RESOURCE, "no process can be had");
  q.task = task;
  memcpy(q.given, given, given_bytes);
  *answered = send(line, &q, sizeof q, MSG_NOSIGNAL) == (ssize_t)sizeof q &&
              recv(line, &a, sizeof a, MSG_WAITALL) == (ssize_t)sizeof a;
  if (!*answered) {
    dismiss();
    return QG_OK;
  }
  if (result_bytes > 0) memcpy(result, a.result, result_bytes);
  return a.status == QG_OK ? QG_OK : QG_FAIL(a.status, "%s", a.message);
}
