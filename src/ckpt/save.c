/* Saving: the order of the phases is what makes half a file impossible to mistake for a whole one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/folder.h"
#include "ckpt/h5_check.h"
#include "ckpt/header.h"
#include "ckpt/reader.h"
#include "ckpt/space.h"
#include "ckpt/writer.h"
#include "qgalore/base.h"
#include "qgalore/fault.h"
#include "qgalore/par_mpi.h"

typedef struct {
  qg_par *par;
  qg_backend *be;
  const qg_state_entry *entries;
  int count;
  char path[QG_CKPT_PATH], temporary[QG_CKPT_PATH];
  qg_ckpt_header header;
  qg_ckpt_layout layout;
} save;

/* The data, their checksums, and what HDF5 writes about them. */
static int64_t room_needed(const save *s)
{
  int64_t data = qg_ckpt_bytes(s->entries, s->count), sums = 0;
  for (int i = 0; i < s->layout.count; i++) {
    const qg_ckpt_dataset *d = &s->layout.datasets[i];
    sums += d->items * qg_ckpt_slab_count(d->elements, d->element_bytes, s->header.slab_bytes);
  }
  return data + (int64_t)sizeof(uint32_t) * sums + ((int64_t)64 << 10) + (int64_t)s->layout.count * 2048;
}

/* Rank 0 makes the empty file and the others look for it: a folder that is not shared is found out before
 * MPI-IO can hang on it. */
static qg_status make_empty(const char *folder, const char *path, int64_t bytes)
{
  QG_TRY(qg_make_folder(folder));
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot create %s: %s", path, strerror(errno));
  close(file);
  return qg_ckpt_reserve(path, bytes);
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

static qg_status make_place(const save *s, const char *folder)
{
  bool root = qg_par_is_root(qg_par_grid(s->par));
  QG_TRY(qg_par_agree(s->par, root ? make_empty(folder, s->temporary, room_needed(s)) : QG_OK));
  return qg_par_agree(s->par, see_file(s->temporary));
}

static qg_status create_file(const save *s, hid_t *out)
{
  qg_status status = QG_OK;
  hid_t access = -1;
  QG_H5_OUT(s->temporary, access = H5Pcreate(H5P_FILE_ACCESS));
  QG_H5_OUT(s->temporary, H5Pset_fapl_mpio(access, qg_par_comm(s->par), MPI_INFO_NULL));
  /* The 1.8 format has checksums on its own structures. */
  QG_H5_OUT(s->temporary, H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18));
  QG_H5_OUT(s->temporary, *out = H5Fcreate(s->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access));
out:
  qg_h5_release(access);
  return status;
}

static qg_status make_transfer(const char *path, hid_t *out)
{
  QG_H5(path, *out = H5Pcreate(H5P_DATASET_XFER));
  QG_H5(path, H5Pset_dxpl_mpio(*out, H5FD_MPIO_COLLECTIVE));
  return QG_OK;
}

static qg_status write_datasets(const save *s, hid_t file)
{
  qg_status status = QG_OK;
  qg_ckpt_writer w = {.par = s->par, .be = s->be, .path = s->temporary, .file = file, .transfer = -1};
  w.slab_bytes = s->header.slab_bytes;
  QG_TRY_OUT(qg_par_agree(s->par, make_transfer(w.path, &w.transfer)));
  QG_TRY_OUT(qg_par_agree(s->par, qg_calloc(1, w.slab_bytes, "the writing of a checkpoint", &w.staging)));
  for (int i = 0; i < s->layout.count; i++) {
    QG_TRY_OUT(qg_ckpt_write_dataset(&w, &s->layout.datasets[i], s->entries, s->count));
    qg_fault("checkpoint.data");
  }
out:
  free(w.staging);
  qg_h5_release(w.transfer);
  return status;
}

static qg_status flush(const save *s, hid_t file)
{
  QG_H5(s->temporary, H5Fflush(file, H5F_SCOPE_GLOBAL));
  return QG_OK;
}

/* Data first, then the mark: a file that says it is complete is. */
static qg_status fill_file(const save *s, hid_t file)
{
  QG_TRY(qg_par_agree(s->par, qg_ckpt_header_write(file, s->temporary, &s->header)));
  QG_TRY(write_datasets(s, file));
  QG_TRY(qg_par_agree(s->par, flush(s, file)));
  qg_fault("checkpoint.flushed");
  QG_TRY(qg_par_agree(s->par, qg_ckpt_header_complete(file, s->temporary)));
  QG_TRY(qg_par_agree(s->par, flush(s, file)));
  qg_fault("checkpoint.complete");
  return QG_OK;
}

static qg_status write_file(const save *s)
{
  hid_t file = -1;
  bool root = qg_par_is_root(qg_par_grid(s->par));
  QG_TRY(qg_par_agree(s->par, create_file(s, &file)));
  /* Creating the file has given back what was reserved to see whether there is room. */
  qg_status filled = qg_par_agree(s->par, root ? qg_ckpt_reserve(s->temporary, room_needed(s)) : QG_OK);
  if (filled == QG_OK) filled = fill_file(s, file);
  qg_status closed =
      H5Fclose(file) < 0 ? qg_h5_failure(s->temporary, "H5Fclose", __FILE__, __LINE__, __func__) : QG_OK;
  QG_TRY(filled);
  QG_TRY(qg_par_agree(s->par, closed));
  qg_fault("checkpoint.closed");
  return QG_OK;
}

/* Closing may write once more after the last flush. */
static qg_status sync_file(const char *path)
{
  int file = open(path, O_RDONLY | O_CLOEXEC);
  bool synced = file >= 0 && fsync(file) == 0;
  int reason = errno;
  if (file >= 0) close(file);
  QG_CHECK(synced, QG_ERR_RESOURCE, "cannot write %s to disk: %s", path, strerror(reason));
  return QG_OK;
}

static qg_status verify_file(const save *s)
{
  const qg_grid *grid = qg_par_grid(s->par);
  qg_ckpt_file *file = NULL;
  if (grid->rank == 0) QG_TRY(sync_file(s->temporary));
  QG_TRY(qg_ckpt_file_open(s->temporary, &file));
  qg_status status = qg_ckpt_file_verify(file, grid->rank, grid->size);
  qg_ckpt_file_close(file);
  return status;
}

static qg_status publish(const save *s)
{
  QG_CHECK(rename(s->temporary, s->path) == 0, QG_ERR_RESOURCE, "cannot rename %s to %s: %s", s->temporary,
           s->path, strerror(errno));
  qg_fault("checkpoint.renamed");
  return qg_sync_parent(s->path);
}

static qg_status run_phases(save *s, const qg_ckpt_options *options, const qg_ckpt_meta *meta)
{
  bool root = qg_par_is_root(qg_par_grid(s->par));
  qg_fault("checkpoint.begin");
  QG_TRY(qg_ckpt_header_make(s->par, meta, &s->header));
  QG_TRY(qg_ckpt_path(options->folder, s->header.meta.step, "", s->path));
  QG_TRY(qg_ckpt_path(options->folder, s->header.meta.step, ".tmp", s->temporary));
  QG_TRY(qg_par_agree(s->par, qg_ckpt_layout_make(s->entries, s->count, &s->layout)));
  QG_TRY(qg_ckpt_check_owners(s->par, &s->layout, s->entries, s->count));
  QG_TRY(qg_par_agree(s->par, s->be->ops->sync(s->be)));
  QG_TRY(make_place(s, options->folder));
  QG_TRY(write_file(s));
  QG_TRY(qg_par_agree(s->par, verify_file(s)));
  qg_fault("checkpoint.verified");
  QG_TRY(qg_par_agree(s->par, root ? publish(s) : QG_OK));
  if (root) qg_ckpt_rotate(options, s->header.meta.step);
  qg_fault("checkpoint.rotated");
  return QG_OK;
}

/* Whatever failed, to the caller it is the checkpoint. */
static qg_status fail_save(const save *s)
{
  char message[2048];
  snprintf(message, sizeof message, "%s", qg_error_message());
  if (qg_par_is_root(qg_par_grid(s->par)) && s->temporary[0]) unlink(s->temporary);
  return qg_error_adopt(QG_ERR_CHECKPOINT, message);
}

qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count)
{
  save s = {.par = par, .be = be, .entries = entries, .count = count};
  qg_h5_quiet();
  qg_status status = run_phases(&s, options, meta);
  if (status != QG_OK) status = fail_save(&s);
  qg_ckpt_layout_free(&s.layout);
  qg_ckpt_header_free(&s.header);
  return status;
}
