/* What happens in the phases of a save; their order is what makes half a file impossible to mistake for a
 * whole one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ckpt/pending.h"
#include "ckpt/skeleton.h"
#include "ckpt/space.h"
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

static qg_status see_file(const char *path)
{
  QG_CHECK(access(path, R_OK | W_OK) == 0, QG_ERR_RESOURCE,
           "%s was made by rank 0 but cannot be used here (%s): the run folder must be on a file system that "
           "all nodes "
           "share",
           path, strerror(errno));
  return QG_OK;
}

/* What killed saves have left is in the way, and holds space that this one may need. */
static qg_status lay_out(void *save)
{
  qg_ckpt_pending *s = save;
  if (!s->root) return QG_OK;
  QG_TRY(qg_make_folder(s->options.folder));
  qg_ckpt_delete_leftovers(s->options.folder);
  s->part = (qg_ckpt_part){s->header.meta.step, qg_ckpt_part_unused(s->options.folder, s->header.meta.step)};
  QG_TRY(create_empty(s->temporary));
  return qg_ckpt_skeleton_make(s->temporary, &s->header, &s->plan, &s->part);
}

/* Where things are in the file that the root has made. */
static qg_status share_places(qg_ckpt_pending *s)
{
  size_t bytes = (size_t)s->plan.layout.count * sizeof *s->plan.places;
  QG_TRY(qg_par_broadcast(s->par, &s->part, sizeof s->part, 0));
  QG_TRY(qg_par_broadcast(s->par, s->plan.places, bytes, 0));
  if (s->options.files == QG_CKPT_SHARED) qg_ckpt_plan_place(&s->plan);
  qg_ckpt_await_copy(s);
  return QG_OK;
}

static qg_status make_part(qg_ckpt_pending *s, int rank)
{
  QG_TRY(qg_ckpt_part_path(s->options.folder, &s->part, rank, s->data));
  QG_TRY(create_empty(s->data));
  return qg_ckpt_reserve(s->data, s->plan.bytes[rank]);
}

/* A folder that is not shared is found out. */
static qg_status write_mine(void *save)
{
  qg_ckpt_pending *s = save;
  qg_fault("checkpoint.laid_out");
  QG_TRY(see_file(s->temporary));
  if (s->options.files == QG_CKPT_PER_RANK) QG_TRY(make_part(s, qg_par_grid(s->par)->rank));
  else
    snprintf(s->data, sizeof s->data, "%s", s->temporary);
  qg_ckpt_writer writer = {.plan = &s->plan,
                           .pieces = s->pieces,
                           .count = s->count,
                           .be = s->be,
                           .path = s->data,
                           .sums = s->sums};
  return qg_ckpt_write(&writer);
}

/* Each slab was summed by one rank and is 0 elsewhere: the sum over ranks is its checksum. */
static qg_status collect_sums(qg_ckpt_pending *s)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  int count = 0;
  QG_TRY_OUT(qg_narrow_int(s->plan.sums, "the number of checksums of a checkpoint", &count));
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

static qg_status rename_file(qg_ckpt_pending *s)
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
  qg_ckpt_pending *s = save;
  if (!s->root) return QG_OK;
  QG_TRY(qg_ckpt_skeleton_complete(s->temporary, &s->plan, s->sums));
  QG_TRY(qg_ckpt_skeleton_check(s->temporary, &s->plan));
  qg_fault("checkpoint.verified");
  QG_TRY(rename_file(s));
  int keep = s->options.files == QG_CKPT_PER_RANK ? s->part.generation : -1;
  qg_ckpt_part_delete(s->options.folder, s->part.step, keep);
  qg_ckpt_rotate(&s->options, s->header.meta.step);
  qg_fault("checkpoint.rotated");
  return QG_OK;
}

const qg_ckpt_phase qg_ckpt_phases[QG_CKPT_PHASES] = {
    {lay_out, share_places}, {write_mine, collect_sums}, {publish, NULL}};
