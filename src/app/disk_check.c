#include "app/disk_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "qgalore/base.h"

/* What the run's checkpoints hold already: new ones replace them. */
static double bytes_in(const char *folder)
{
  DIR *directory = opendir(folder);
  double bytes = 0.0;
  struct stat info;
  for (struct dirent *entry; directory && (entry = readdir(directory));)
    if (fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode))
      bytes += 512.0 * (double)info.st_blocks;
  if (directory) closedir(directory);
  return bytes;
}

/* A new checkpoint is complete before the oldest goes. */
static double most_at_once(const qg_config *c)
{
  int64_t every = c->checkpoint.keep_every;
  return (double)(c->checkpoint.keep_last + 1 + (every > 0 ? c->train.steps / every : 0));
}

static void tell_when(const qg_config *c, const qg_log *log)
{
  char time[32], steps[48] = "";
  bool by_time = c->checkpoint.every_time > 0.0, by_steps = c->checkpoint.every > 0;
  if (by_steps) snprintf(steps, sizeof steps, "every %lld steps", (long long)c->checkpoint.every);
  if (by_time) qg_format_seconds(time, sizeof time, c->checkpoint.every_time);
  qg_log_info(log, "saves     %s%s%s%s%s", steps, by_steps && by_time ? " and " : "", by_time ? "every " : "",
              by_time ? time : "",
              by_steps || by_time
                  ? ", and at the end: a crash costs what was done since the last one"
                  : "only at the end and on request: a crash costs the whole run (checkpoint.every_time)");
}

qg_status qg_disk_check(const qg_config *c, int64_t bytes, bool plan, const qg_log *log)
{
  char folder[3 * QG_PATH_MAX], one[32], all[32], room[32];
  snprintf(folder, sizeof folder, "%s/%s/checkpoints", c->run.output_dir, c->run.name);
  double here = (double)qg_disk_free(folder), needed = most_at_once(c) * (double)bytes;
  qg_format_bytes(one, sizeof one, (double)bytes);
  qg_format_bytes(all, sizeof all, needed);
  qg_format_bytes(room, sizeof room, here);
  tell_when(c, log);
  QG_CHECK(plan || here >= (double)bytes, QG_ERR_RESOURCE,
           "a checkpoint takes %s and %s has room for %s: nothing of this run could be saved; make room, or "
           "choose "
           "another run.output_dir",
           one, c->run.output_dir, room);
  if (here + bytes_in(folder) < needed)
    qg_log_warn(
        log,
        "%s has room for %s, but checkpoints will take %s at most: make room, or lower checkpoint.keep_last",
        c->run.output_dir, room, all);
  return QG_OK;
}
