/* What the files of src/ckpt share: the layout of a checkpoint (doc/formats.md) and HDF5 with messages. */
#ifndef QG_CKPT_PRIVATE_H
#define QG_CKPT_PRIVATE_H

#include <hdf5.h>

#include "qgalore/ckpt.h"

#define QG_CKPT_FORMAT "qgalore-checkpoint"
#define QG_CKPT_VERSION "1.0"
#define QG_CKPT_CRC_SUFFIX ".crc32c"

enum { QG_CKPT_PATH = 4096 };

/* One dataset of the file: the items of the entries that name it, as rows of `elements` stored elements. */
typedef struct {
  const char *name;
  qg_dtype type;
  int64_t items;
  int64_t elements;     /* stored: QG_U4 counts packed bytes */
  int first_entry;      /* where to begin looking for its entries */
} qg_ckpt_dataset;

/* The distinct datasets of an entry list, in order of appearance. Caller frees. */
qg_status qg_ckpt_datasets(const qg_state_entry *entries, int count, qg_ckpt_dataset **out, int *datasets);

hid_t qg_ckpt_file_type(qg_dtype type);    /* little endian, in the file */
hid_t qg_ckpt_memory_type(qg_dtype type);
size_t qg_ckpt_element_bytes(qg_dtype type);
/* Elements of a slab: the unit of one write and of one checksum, at most 256 MiB. */
int64_t qg_ckpt_slab_elements(size_t element_bytes, int64_t elements);

/* HDF5 prints nothing by itself; its innermost message becomes ours. */
void qg_ckpt_quiet(void);
qg_status qg_ckpt_h5_status(int64_t result, const char *call, const char *path);

#define QG_H5(path, call) QG_TRY(qg_ckpt_h5_status((int64_t)(call), #call, path))
#define QG_H5_OUT(path, call) QG_TRY_OUT(qg_ckpt_h5_status((int64_t)(call), #call, path))

qg_status qg_ckpt_write_meta(hid_t file, const char *path, const qg_ckpt_meta *meta);
qg_status qg_ckpt_mark_complete(hid_t file, const char *path);
/* Checks format, version, complete mark and the checksum of the attributes. *resolved is malloc'ed. */
qg_status qg_ckpt_read_meta(hid_t file, const char *path, qg_ckpt_meta *meta, char **resolved);

/* Checks those datasets whose number modulo `parts` is `part`. Local. */
qg_status qg_ckpt_verify_part(const char *path, int part, int parts);

/* Reads slab `slab` of an item and compares its checksum. `buffer` holds slab_elements. */
qg_status qg_ckpt_read_slab(hid_t data, hid_t crc, const char *path, const char *name, hid_t memory_type,
                            size_t element_bytes, int64_t elements, int64_t item, int64_t slab, void *buffer);

/* Deletes what keep_last and keep_every release. Rank 0. */
void qg_ckpt_rotate(const qg_ckpt_options *options);
/* Steps of the checkpoints in a folder, newest first. Caller frees. */
qg_status qg_ckpt_list(const char *folder, int64_t **steps, int *count);
void qg_ckpt_path(const char *folder, int64_t step, char *path, size_t size);

#endif
