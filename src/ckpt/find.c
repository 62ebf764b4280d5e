/* The newest checkpoint that can be trusted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/folder.h"
#include "ckpt/rank_files.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"

static qg_status verify_share(qg_par *par, const char *path)
{
  const qg_grid *grid = qg_par_grid(par);
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_par_agree(par, qg_par_is_root(grid) ? qg_ckpt_file_check_structure(path) : QG_OK));
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_verify(file, grid->rank, grid->size);
  qg_ckpt_file_close(file);
  return status;
}

/* The root's list on all ranks; caller frees. */
static qg_status share_list(qg_par *par, const char *folder, int64_t **steps, int64_t *count)
{
  bool root = qg_par_is_root(qg_par_grid(par));
  void *memory = NULL;
  *steps = NULL;
  *count = 0;
  QG_TRY(qg_par_agree(par, root ? qg_ckpt_list(folder, steps, count) : QG_OK));
  QG_TRY(qg_par_broadcast(par, count, sizeof *count, 0));
  qg_status status =
      root ? QG_OK : qg_calloc((size_t)*count, sizeof **steps, "the list of checkpoints", &memory);
  if (!root) *steps = memory;
  QG_TRY(qg_par_agree(par, status));
  return qg_par_broadcast(par, *steps, (size_t)*count * sizeof **steps, 0);
}

qg_status qg_ckpt_newest(qg_par *par, const char *folder, int64_t *step)
{
  int64_t *steps, count;
  qg_status status = share_list(par, folder, &steps, &count);
  *step = status == QG_OK && count > 0 ? steps[0] : -1;
  free(steps);
  return status;
}

static qg_status discard(const char *folder, const int64_t *steps, int64_t count, int64_t after)
{
  char path[QG_CKPT_PATH];
  for (int64_t i = 0; i < count && steps[i] > after; i++) {
    QG_TRY(qg_ckpt_path(folder, steps[i], "", path));
    QG_CHECK(unlink(path) == 0, QG_ERR_RESOURCE, "cannot delete %s: %s", path, strerror(errno));
    qg_ckpt_rank_files_delete(folder, steps[i], -1);
  }
  return QG_OK;
}

qg_status qg_ckpt_discard(qg_par *par, const char *folder, int64_t step)
{
  int64_t *steps, count;
  bool root = qg_par_is_root(qg_par_grid(par));
  qg_status status = share_list(par, folder, &steps, &count);
  if (status == QG_OK) status = qg_par_agree(par, root ? discard(folder, steps, count, step) : QG_OK);
  free(steps);
  return status;
}

static qg_status find_newest(qg_par *par, const qg_log *log, const char *folder, const int64_t *steps,
                             int64_t count, char path[QG_CKPT_PATH])
{
  for (int64_t i = 0; i < count; i++) {
    QG_TRY(qg_ckpt_path(folder, steps[i], "", path));
    if (qg_par_agree(par, verify_share(par, path)) == QG_OK) return QG_OK;
    qg_log_warn(log, "refused a checkpoint: %s", qg_error_message());
  }
  path[0] = '\0';
  return QG_OK;
}

qg_status qg_ckpt_find(qg_par *par, const qg_log *log, const char *folder, char *path, size_t size)
{
  char found[QG_CKPT_PATH] = "";
  int64_t *steps, count;
  qg_status status = share_list(par, folder, &steps, &count);
  if (status == QG_OK) status = find_newest(par, log, folder, steps, count, found);
  free(steps);
  QG_TRY(status);
  QG_CHECK(strlen(found) < size, QG_ERR_CHECKPOINT, "the path of the checkpoint is too long: %.200s...",
           found);
  strcpy(path, found);
  return QG_OK;
}
