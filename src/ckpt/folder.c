/* The checkpoints of a folder: names, order, rotation. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"
#include "qgalore/fault.h"

void qg_ckpt_path(const char *folder, int64_t step, char *path, size_t size)
{
  snprintf(path, size, "%s/step-%010lld.h5", folder, (long long)step);
}

static bool parse_name(const char *name, int64_t *step)
{
  char *end;
  if (strncmp(name, "step-", 5) != 0) return false;
  *step = strtoll(name + 5, &end, 10);
  return end > name + 5 && strcmp(end, ".h5") == 0 && *step >= 0;
}

static int newest_first(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

qg_status qg_ckpt_list(const char *folder, int64_t **steps, int *count)
{
  DIR *directory = opendir(folder);
  *steps = NULL;
  *count = 0;
  if (!directory) return QG_OK;
  int64_t step;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (!parse_name(entry->d_name, &step)) continue;
    int64_t *more = realloc(*steps, ((size_t)*count + 1) * sizeof **steps);
    if (!more) break;
    *steps = more;
    (*steps)[(*count)++] = step;
  }
  closedir(directory);
  if (*count > 0) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
  return QG_OK;
}

void qg_ckpt_rotate(const qg_ckpt_options *options)
{
  int64_t *steps;
  int count;
  char path[QG_CKPT_PATH];
  if (qg_ckpt_list(options->folder, &steps, &count) != QG_OK) return;
  for (int i = (int)qg_max_i64(options->keep_last, 1); i < count; i++) {
    if (options->keep_every > 0 && steps[i] % options->keep_every == 0) continue;
    qg_ckpt_path(options->folder, steps[i], path, sizeof path);
    unlink(path);
    qg_fault("checkpoint-rotating");
  }
  free(steps);
}
