#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qgalore/base.h"

enum { REASON_MAX = (int)sizeof((qg_run_status *)NULL)->reason - 1, STATUS_TEXT = 512 };

qg_run_folder qg_run_folder_of(const qg_config *config)
{
  qg_run_folder folder;
  snprintf(folder.root, sizeof folder.root, "%s/%s", config->run.output_dir, config->run.name);
  snprintf(folder.checkpoints, sizeof folder.checkpoints, "%s/checkpoints", folder.root);
  snprintf(folder.stop_file, sizeof folder.stop_file, "%s/STOP", folder.root);
  return folder;
}

/* The run that holds the lock has written "HOST, process ID" into the file. */
static void read_holder(int file, char *text, size_t size)
{
  ssize_t bytes = pread(file, text, size - 1, 0);
  text[bytes > 0 ? bytes : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

static void write_holder(int file)
{
  char host[64] = "";
  gethostname(host, sizeof host - 1);
  if (ftruncate(file, 0) == 0) dprintf(file, "%s, process %d\n", host, (int)getpid());
}

/* What was killed a moment ago may not be gone yet. */
enum { TRIES = 30, MICROSECONDS_BETWEEN = 100000 };

/* A record lock: network file systems support it, and it ends with the process, however the process ends. */
static bool is_taken(int file, const qg_log *log)
{
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  for (int i = 0; fcntl(file, F_SETLK, &whole) != 0 && (errno == EACCES || errno == EAGAIN); i++) {
    if (i == TRIES) return true;
    if (i == 0) qg_log_info(log, "folder    held by another run: waiting a moment for its end");
    usleep(MICROSECONDS_BETWEEN);
  }
  return false;
}

static qg_status take_lock(const char *root, int file, const qg_log *log)
{
  char holder[128];
  if (is_taken(file, log)) {
    read_holder(file, holder, sizeof holder);
    return QG_FAIL(QG_ERR_RESOURCE,
                   "%s is in use by another run (%s): wait for its end, stop it with touch %s/STOP, or give "
                   "this run another "
                   "run.name",
                   root, holder, root);
  }
  write_holder(file);
  return QG_OK;
}

/* Right at the beginning: a STOP that comes later, while the program is still starting, is meant for this
 * run. */
static void remove_old_stop(const qg_run_folder *folder, const qg_log *log)
{
  if (unlink(folder->stop_file) == 0)
    qg_log_info(log, "folder    removed the STOP file of an earlier attempt");
}

qg_status qg_run_folder_open(const qg_run_folder *folder, const qg_log *log, int *lock)
{
  char path[sizeof folder->root + 16];
  *lock = -1;
  QG_TRY(qg_make_folder(folder->checkpoints));
  snprintf(path, sizeof path, "%s/lock", folder->root);
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot open %s: %s", path, strerror(errno));
  qg_status status = take_lock(folder->root, file, log);
  if (status != QG_OK) {
    close(file);
    return status;
  }
  remove_old_stop(folder, log);
  *lock = file;
  return QG_OK;
}

qg_holder qg_run_folder_holder(const char *folder, char *text, size_t size)
{
  char path[4096];
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  snprintf(path, sizeof path, "%s/lock", folder);
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return QG_HOLDER_UNKNOWN;
  bool known = fcntl(file, F_GETLK, &whole) == 0;
  read_holder(file, text, size);
  qg_text_make_printable(text);
  close(file);
  return !known ? QG_HOLDER_UNKNOWN : whole.l_type == F_UNLCK ? QG_HOLDER_NONE : QG_HOLDER_LIVES;
}

qg_status qg_run_folder_write_input(const qg_run_folder *folder, const qg_config *config)
{
  char path[sizeof folder->root + 16], *text = NULL;
  QG_TRY(qg_config_resolved(config, &text));
  snprintf(path, sizeof path, "%s/resolved.in", folder->root);
  qg_status status = qg_write_file_atomic(path, text, strlen(text));
  free(text);
  return status;
}

/* A full disk has no room for another file, but this one has its block. Readers see the old text or the new
 * one. */
static bool overwrite(const char *path, const char *text, size_t bytes)
{
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool written = pwrite(file, text, bytes, 0) == (ssize_t)bytes && ftruncate(file, (off_t)bytes) == 0;
  return close(file) == 0 && written;
}

/* The text of the file; its length. */
static int format_status(char text[STATUS_TEXT], const char *state, int64_t step, int64_t steps,
                         const char *reason)
{
  char when[32];
  qg_format_utc(when, sizeof when, time(NULL));
  int length = (int)qg_min_i64((int64_t)strcspn(reason, "\n"), REASON_MAX);
  return snprintf(text, STATUS_TEXT, "state=%s\nstep=%lld\nsteps=%lld\nreason=%.*s\nupdated=%s\n", state,
                  (long long)step, (long long)steps, length, reason, when);
}

qg_status qg_run_folder_write_status(const qg_run_folder *folder, const char *state, int64_t step,
                                     int64_t steps, const char *reason)
{
  char path[sizeof folder->root + 16], text[STATUS_TEXT];
  int bytes = format_status(text, state, step, steps, reason);
  snprintf(path, sizeof path, "%s/status", folder->root);
  qg_status written = qg_write_file_atomic(path, text, (size_t)bytes);
  return written != QG_OK && overwrite(path, text, (size_t)bytes) ? QG_OK : written;
}

void qg_run_folder_overwrite_status(const qg_run_folder *folder, const char *state, int64_t step,
                                    int64_t steps, const char *reason)
{
  char path[sizeof folder->root + 16], text[STATUS_TEXT];
  int bytes = format_status(text, state, step, steps, reason);
  snprintf(path, sizeof path, "%s/status", folder->root);
  (void)overwrite(path, text, (size_t)bytes);
}

static void take_line(const char *line, qg_run_status *out)
{
  const char *equals = strchr(line, '=');
  if (!equals) return;
  size_t name = (size_t)(equals - line), length = strcspn(equals + 1, "\n");
  const struct {
    const char *name;
    char *text;
    size_t size;
  } texts[] = {{"state", out->state, sizeof out->state},
               {"reason", out->reason, sizeof out->reason},
               {"updated", out->updated, sizeof out->updated}};
  for (int i = 0; i < QG_COUNT_OF(texts); i++)
    if (strlen(texts[i].name) == name && strncmp(line, texts[i].name, name) == 0)
      snprintf(texts[i].text, texts[i].size, "%.*s", (int)length, equals + 1);
  if (strncmp(line, "step=", 5) == 0) out->step = strtoll(line + 5, NULL, 10);
  if (strncmp(line, "steps=", 6) == 0) out->steps = strtoll(line + 6, NULL, 10);
}

qg_status qg_run_folder_read_status(const char *folder, qg_run_status *out)
{
  char path[4096], line[512];
  *out = (qg_run_status){0};
  snprintf(path, sizeof path, "%s/status", folder);
  FILE *file = fopen(path, "r");
  QG_CHECK(file, QG_ERR_INPUT, "%s has no status file: not a run's folder, or the run never started", folder);
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = '\0';
    qg_text_make_printable(line);
    take_line(line, out);
  }
  fclose(file);
  QG_CHECK(out->state[0], QG_ERR_INPUT, "%s does not say a state: not the status file of a run", path);
  return QG_OK;
}
