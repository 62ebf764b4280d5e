#include "ckpt/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/rank_files.h"
#include "qgalore/base.h"

static int newest_first(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

/* Grows by doubling. */
static qg_status append(int64_t **list, int64_t *count, int64_t step)
{
  if ((*count & (*count - 1)) == 0) {
    int64_t *longer = realloc(*list, (size_t)(*count ? 2 * *count : 1) * sizeof **list);
    QG_CHECK(longer, QG_ERR_RESOURCE, "no host memory for the list of checkpoints");
    *list = longer;
  }
  (*list)[(*count)++] = step;
  return QG_OK;
}

static qg_status list_with_suffix(const char *folder, const char *suffix, int64_t **steps, int64_t *count)
{
  qg_status status = QG_OK;
  *steps = NULL;
  *count = 0;
  DIR *directory = opendir(folder);
  if (!directory && errno == ENOENT) return QG_OK;
  /* Not "none": that would start a run again from scratch. */
  QG_CHECK(directory, QG_ERR_CHECKPOINT, "cannot read the checkpoint folder %s: %s", folder, strerror(errno));
  int64_t step = 0;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (qg_ckpt_name_parse(entry->d_name, suffix, &step)) QG_TRY_OUT(append(steps, count, step));
  if (*count > 0) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
out:
  closedir(directory);
  if (status != QG_OK) {
    free(*steps);
    *steps = NULL;
    *count = 0;
  }
  return status;
}

qg_status qg_ckpt_list(const char *folder, int64_t **steps, int64_t *count)
{
  return list_with_suffix(folder, "", steps, count);
}

void qg_ckpt_delete(const char *folder, int64_t step)
{
  char path[QG_CKPT_PATH];
  if (qg_ckpt_path(folder, step, "", path) == QG_OK) unlink(path);
  /* Last, so that no checkpoint ever lacks its rank files. */
  qg_ckpt_rank_files_delete(folder, step, -1);
}

void qg_ckpt_delete_leftovers(const char *folder)
{
  int64_t *steps, count;
  char path[QG_CKPT_PATH];
  qg_ckpt_rank_files_delete_orphans(folder);
  if (list_with_suffix(folder, ".tmp", &steps, &count) != QG_OK) return;
  for (int64_t i = 0; i < count; i++)
    if (qg_ckpt_path(folder, steps[i], ".tmp", path) == QG_OK) unlink(path);
  free(steps);
}

void qg_ckpt_rotate(const qg_ckpt_options *options, int64_t newest)
{
  int64_t *steps, count, kept = 0;
  if (qg_ckpt_list(options->folder, &steps, &count) != QG_OK) return;
  for (int64_t i = 0; i < count; i++) {
    /* Newer ones are of an attempt that was given up; they must not push out the one just written. */
    if (steps[i] > newest || kept++ < qg_max_i64(1, options->keep_last)) continue;
    if (options->keep_every > 0 && steps[i] % options->keep_every == 0) continue;
    qg_ckpt_delete(options->folder, steps[i]);
  }
  free(steps);
}
