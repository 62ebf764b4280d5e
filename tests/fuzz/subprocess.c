/* In place of src/base/subprocess.c: the process stays and does one task after the other, so that thousands
 * of files a second go through it. After a crash the next one is forked by a supervisor that does nothing
 * else, and so is small and quick to fork. */
#include "qgalore/base/subprocess.h"

#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qgalore/base.h"

enum {
  GIVEN_BYTES = 8192,
  TASK_SECONDS = 10,
  TASKS = 500, /* before files that HDF5 has left open are too many */
  REPLACE_ME = 99
};

typedef struct {
  qg_subprocess_task task; /* the same address in both processes */
  char given[GIVEN_BYTES];
} question;

typedef struct {
  bool crashed;
  qg_status status;
  char message[1024], result[QG_SUBPROCESS_RESULT];
} answer;

/* Of the sanitizers, where they are linked; libFuzzer writes its artifact there. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static int connection = -1; /* to the supervisor and its worker */

/* A crash is an answer, so neither a sanitizer nor a fuzzer is to speak of it. */
_Noreturn static void serve(int in)
{
  static question q;
  static answer a;
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
  for (int i = 0; i < QG_COUNT_OF(signals); i++) signal(signals[i], SIG_DFL);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(NULL);
  dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
  for (int i = 0; recv(in, &q, sizeof q, MSG_WAITALL) == (ssize_t)sizeof q; i++) {
    alarm(TASK_SECONDS);
    a.status = q.task(q.given, a.result);
    alarm(0);
    H5close(); /* as in a process that has just begun: HDF5 must not find the remains of the last file */
    snprintf(a.message, sizeof a.message, "%s", a.status == QG_OK ? "" : qg_error_message());
    if (send(in, &a, sizeof a, MSG_NOSIGNAL) != (ssize_t)sizeof a) break;
    if (i == TASKS) _exit(REPLACE_ME);
  }
  _exit(0);
}

/* Until a worker finds that nobody asks any more. */
_Noreturn static void supervise(int in)
{
  static const answer crashed = {.crashed = true};
  for (int status = 1; status != 0;) {
    pid_t worker = fork();
    if (worker == 0) serve(in);
    if (worker < 0 || waitpid(worker, &status, 0) < 0) break;
    bool crashes = status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == REPLACE_ME);
    if (crashes && send(in, &crashed, sizeof crashed, MSG_NOSIGNAL) < 0) break;
  }
  _exit(0);
}

static bool start_supervisor(void)
{
  int ends[2];
  if (connection >= 0) return true;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
  pid_t supervisor = fork();
  if (supervisor == 0) {
    close(ends[0]);
    supervise(ends[1]);
  }
  close(ends[1]);
  connection = ends[0];
  return supervisor > 0;
}

qg_status qg_subprocess_run(qg_subprocess_task task, const void *given, size_t given_bytes, void *result,
                            size_t result_bytes, bool *answered)
{
  static question q;
  static answer a;
  QG_CHECK(given_bytes <= sizeof q.given && result_bytes <= sizeof a.result, QG_ERR_RUNTIME,
           "too many bytes");
  q.task = task;
  memcpy(q.given, given, given_bytes);
  bool heard = start_supervisor() && send(connection, &q, sizeof q, MSG_NOSIGNAL) == (ssize_t)sizeof q &&
               recv(connection, &a, sizeof a, MSG_WAITALL) == (ssize_t)sizeof a;
  QG_CHECK(heard, QG_ERR_RESOURCE, "the child process is gone");
  *answered = !a.crashed;
  if (a.crashed) return QG_OK;
  if (result_bytes > 0) memcpy(result, a.result, result_bytes);
  return a.status == QG_OK ? QG_OK : QG_FAIL(a.status, "%s", a.message);
}
