/* The phases of a save. Because of their order an incomplete file is never mistaken for a complete one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ckpt/active_save.h"
#include "ckpt/folder.h"
#include "ckpt/h5_file.h"
#include "ckpt/preallocate.h"
#include "ckpt/rank_files.h"
#include "ckpt/writer.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

static qg_status create_empty(const char *path)
{
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot create %s: %s", path, strerror(errno));
  close(file);
  return QG_OK;
}

/* On a folder that the nodes do not share, other ranks do not see the file. */
static qg_status check_shared(const char *path)
{
  QG_CHECK(access(path, R_OK | W_OK) == 0, QG_ERR_RESOURCE,
           "%s was made by rank 0 but cannot be used here (%s): the run folder must be on a file system that "
           "all nodes share",
           path, strerror(errno));
  return QG_OK;
}

/* What killed saves have left holds space that this one may need. */
static qg_status create_file(void *save)
{
  qg_ckpt_active_save *s = save;
  if (!s->root) return QG_OK;
  QG_TRY(qg_make_folder(s->options.folder));
  qg_ckpt_delete_leftovers(s->options.folder);
  s->rank_files = (qg_ckpt_rank_files){s->header.meta.step,
                                       qg_ckpt_unused_generation(s->options.folder, s->header.meta.step)};
  QG_TRY(create_empty(s->temporary));
  return qg_ckpt_h5_file_create(s->temporary, &s->header, &s->placement, &s->rank_files);
}

/* Where the datasets lie in the file that the root has created. */
static qg_status share_offsets(qg_ckpt_active_save *s)
{
  size_t bytes = (size_t)s->placement.layout.count * sizeof *s->placement.offsets;
  QG_TRY(qg_par_broadcast(s->par, &s->rank_files, sizeof s->rank_files, 0));
  QG_TRY(qg_par_broadcast(s->par, s->placement.offsets, bytes, 0));
  if (s->options.files == QG_CKPT_SHARED) qg_ckpt_placement_set_addresses(&s->placement);
  qg_ckpt_await_copy(s);
  return QG_OK;
}

static qg_status create_rank_file(qg_ckpt_active_save *s, int rank)
{
  QG_TRY(qg_ckpt_rank_file_path(s->options.folder, &s->rank_files, rank, s->data_path));
  QG_TRY(create_empty(s->data_path));
  return qg_ckpt_preallocate(s->data_path, s->placement.rank_bytes[rank]);
}

static qg_status write_local(void *save)
{
  qg_ckpt_active_save *s = save;
  qg_fault("checkpoint.laid_out");
  QG_TRY(check_shared(s->temporary));
  if (s->options.files == QG_CKPT_PER_RANK) QG_TRY(create_rank_file(s, qg_par_grid(s->par)->rank));
  else
    snprintf(s->data_path, sizeof s->data_path, "%s", s->temporary);
  qg_ckpt_writer writer = {
      .placement = &s->placement, .local = &s->local, .be = s->be, .path = s->data_path, .sums = s->sums};
  return qg_ckpt_write(&writer);
}

/* Each block has its checksum from one rank and 0 from the others: the sum over ranks is the checksum. */
static qg_status collect_sums(qg_ckpt_active_save *s)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  int count = 0;
  QG_TRY_OUT(qg_narrow_int(s->placement.sums, "the number of checksums of a checkpoint", &count));
  QG_TRY_OUT(qg_par_agree(
      s->par, qg_calloc((size_t)count, sizeof(double), "the checksums of a checkpoint", &memory)));
  double *values = memory;
  for (int i = 0; i < count; i++) values[i] = s->sums[i];
  QG_TRY_OUT(qg_par_sum(s->par, values, count));
  for (int i = 0; i < count; i++) s->sums[i] = (uint32_t)values[i];
out:
  free(memory);
  return status;
}

static qg_status rename_file(qg_ckpt_active_save *s)
{
  QG_CHECK(rename(s->temporary, s->path) == 0, QG_ERR_RESOURCE, "cannot rename %s to %s: %s", s->temporary,
           s->path, strerror(errno));
  s->renamed = true;
  qg_fault("checkpoint.renamed");
  return qg_sync_parent(s->path);
}

/* Older checkpoints go when the one that replaces them is safe. */
static qg_status publish(void *save)
{
  qg_ckpt_active_save *s = save;
  if (!s->root) return QG_OK;
  QG_TRY(qg_ckpt_h5_file_complete(s->temporary, &s->placement, s->sums));
  QG_TRY(qg_ckpt_h5_file_check(s->temporary, &s->placement));
  qg_fault("checkpoint.verified");
  QG_TRY(rename_file(s));
  int keep = s->options.files == QG_CKPT_PER_RANK ? s->rank_files.generation : -1;
  qg_ckpt_rank_files_delete(s->options.folder, s->rank_files.step, keep);
  qg_ckpt_rotate(&s->options, s->header.meta.step);
  qg_fault("checkpoint.rotated");
  return QG_OK;
}

const qg_ckpt_phase qg_ckpt_phases[QG_CKPT_PHASES] = {
    {create_file, share_offsets}, {write_local, collect_sums}, {publish, NULL}};
