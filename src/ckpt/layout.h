/* The datasets of a checkpoint (doc/formats.md).
 *
 * Every distinct dataset of an entry list is one contiguous dataset [items, elements]; its companion
 * "NAME.crc32c", u32 [items, blocks], holds a checksum of every block. A checksum block is `block_bytes`
 * consecutive bytes of one item (attribute "slab_bytes" of the file); the last one of an item may be short.
 */
#ifndef QG_CKPT_LAYOUT_H
#define QG_CKPT_LAYOUT_H

#include <hdf5.h>

#include "qgalore/base/state.h"
#include "qgalore/base/status.h"

#define QG_CKPT_CRC_SUFFIX ".crc32c"

enum { QG_CKPT_NAME = 96 + sizeof QG_CKPT_CRC_SUFFIX };
enum { QG_CKPT_BLOCK_BYTES = 64 << 20 }; /* unless the environment says otherwise */
/* Bytes of one read or write of a block: what was just summed up is still in the cache when it is copied to
 * or from the kernel. */
enum { QG_CKPT_CHUNK = 1 << 20 };

/* One dataset. Elements are as stored: of QG_U4 the packed bytes. */
typedef struct {
  const char *name;
  qg_dtype type;
  int64_t items, elements; /* shape */
  size_t element_bytes;
} qg_ckpt_dataset;

typedef struct {
  qg_ckpt_dataset *datasets; /* [count], in order of first appearance in the entries */
  int count;
} qg_ckpt_layout;

/* The part of an item that one checksum covers. */
typedef struct {
  int64_t first, elements; /* within the item */
  size_t offset, bytes;
} qg_ckpt_block;

/* Entries that contradict each other are QG_ERR_RUNTIME. Names stay owned by the entries. Free with
 * qg_ckpt_layout_free. Local. */
qg_status qg_ckpt_layout_make(const qg_state_entry *entries, int count, qg_ckpt_layout *out);
void qg_ckpt_layout_free(qg_ckpt_layout *layout);

/* The type in the file. All supported machines are little endian, so it is the type in memory as well. */
hid_t qg_ckpt_h5_type(qg_dtype type);

/* Blocks of an item, and one of them. block_bytes is a multiple of 8. */
int64_t qg_ckpt_block_count(int64_t elements, size_t element_bytes, size_t block_bytes);
qg_ckpt_block qg_ckpt_block_at(int64_t elements, size_t element_bytes, size_t block_bytes, int64_t index);

#endif
