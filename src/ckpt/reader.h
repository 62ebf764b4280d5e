/* Reading a checkpoint, which may be a file of unknown origin: each size and type is checked before memory is
 * filled. All local. */
#ifndef QG_CKPT_READER_H
#define QG_CKPT_READER_H

#include "ckpt/layout.h"
#include "ckpt/open_file.h"

/* One dataset with its checksums, after a check of kind and shape. */
typedef struct {
  const qg_ckpt_file *file;
  const char *name;
  hid_t data, sums;
  qg_dtype type;
  int64_t items, elements, blocks;
  size_t element_bytes;
} qg_ckpt_reader;

/* Opens a file for reading and checks its header and that it holds nothing but its own datasets. */
qg_status qg_ckpt_file_open(const char *path, qg_ckpt_file **out);
/* NULL is fine. */
void qg_ckpt_file_close(qg_ckpt_file *file);

/* Opens header and all datasets once in a child process, which a hostile file may crash: to be called before
 * a file of unknown origin is opened here. */
qg_status qg_ckpt_file_check_structure(const char *path);
/* Checks the structure, then opens the file. */
qg_status qg_ckpt_file_open_untrusted(const char *path, qg_ckpt_file **out);

/* `name` must outlive the reader. QG_ERR_CHECKPOINT names it. */
qg_status qg_ckpt_reader_open(const qg_ckpt_file *file, const char *name, qg_ckpt_reader *out);
void qg_ckpt_reader_close(qg_ckpt_reader *reader);

/* Reads block `index` of an item into `buffer` (room for block->bytes, at most header.block_bytes) and
 * compares its checksum. */
qg_status qg_ckpt_reader_read(const qg_ckpt_reader *reader, int64_t item, int64_t index, void *buffer,
                              qg_ckpt_block *block);

/* Compares the checksum of a block; `buffer` has room for QG_CKPT_CHUNK. */
qg_status qg_ckpt_reader_check(const qg_ckpt_reader *reader, int64_t item, int64_t index, void *buffer);

/* Calls `visitor` for each dataset in the order of names; the first failure ends this and is its result. The
 * reader is open during the call only. A file without datasets is QG_ERR_CHECKPOINT. */
typedef qg_status (*qg_ckpt_visitor)(void *context, const qg_ckpt_reader *reader);
qg_status qg_ckpt_for_each_dataset(const qg_ckpt_file *file, qg_ckpt_visitor visitor, void *context);

/* Compares the checksums of the blocks whose running number is `rank` modulo `ranks`, over all datasets. */
qg_status qg_ckpt_file_verify(const qg_ckpt_file *file, int rank, int ranks);

#endif
