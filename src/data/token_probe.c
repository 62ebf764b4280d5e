/* HDF5 1.10 reads past its buffers in some damaged and hostile files. Token files come from anywhere, so a
 * process of its own reads their structure and hands back a few numbers; the tokens themselves are read
 * without HDF5. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/token_layout.h"
#include "qgalore/base.h"

/* A structure is some kilobytes; a loop in it must end. */
enum { PROBE_SECONDS = 10 };

typedef struct {
  qg_status status;
  char message[1024];
  qg_token_layout layout;
  qg_tokens_info info;
} report;
_Static_assert(sizeof(report) <= PIPE_BUF, "a report is written at once");

/* A crash is an answer: no trace of it from MPI, no core. */
static void crash_quietly(void)
{
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  const struct rlimit no_core = {0, 0}, seconds = {PROBE_SECONDS, PROBE_SECONDS};
  for (int i = 0; i < QG_COUNT_OF(signals); i++) signal(signals[i], SIG_DFL);
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_CPU, &seconds);
}

_Noreturn static void probe(const char *path, int64_t file_bytes, int out)
{
  report r = {0};
  crash_quietly();
  r.status = qg_token_layout_parse(path, file_bytes, &r.layout, &r.info);
  snprintf(r.message, sizeof r.message, "%s", r.status == QG_OK ? "" : qg_error_message());
  ssize_t written = write(out, &r, sizeof r);
  _exit(written == (ssize_t)sizeof r ? 0 : 1);
}

static bool read_report(int in, report *out)
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

static qg_status run_probe(const char *path, int64_t file_bytes, report *out)
{
  int ends[2];
  QG_CHECK(pipe(ends) == 0, QG_ERR_RESOURCE, "%s: no pipe to read its structure: %s", path, strerror(errno));
  pid_t child = fork();
  if (child == 0) probe(path, file_bytes, ends[1]);
  int error = errno;
  close(ends[1]);
  bool answered = child > 0 && read_report(ends[0], out);
  close(ends[0]);
  if (child > 0) wait_for(child);
  QG_CHECK(child > 0, QG_ERR_RESOURCE, "%s: no process to read its structure: %s", path, strerror(error));
  QG_CHECK(answered, QG_ERR_INPUT, "%s: HDF5 cannot cope with its structure, it is damaged: copy it again",
           path);
  return QG_OK;
}

qg_status qg_token_layout_read(const char *path, int fd, qg_token_layout *layout, qg_tokens_info *info)
{
  report r;
  struct stat stat_buffer;
  QG_CHECK(fstat(fd, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode), QG_ERR_INPUT,
           "%s: not a regular file: name a file written by qgalore_tok", path);
  QG_TRY(run_probe(path, stat_buffer.st_size, &r));
  if (r.status != QG_OK) return QG_FAIL(r.status, "%s", r.message);
  *layout = r.layout;
  *info = r.info;
  return QG_OK;
}
