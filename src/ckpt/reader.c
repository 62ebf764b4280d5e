#include "ckpt/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/attributes.h"
#include "ckpt/finite.h"
#include "ckpt/h5_check.h"
#include "ckpt/storage.h"
#include "qgalore/base.h"

static bool has_type(hid_t data, hid_t expected)
{
  hid_t type = H5Dget_type(data);
  bool same = type >= 0 && H5Tequal(type, expected) > 0;
  qg_h5_release(type);
  return same;
}

/* The element type is an attribute, because HDF5 has no bf16 and no u4. */
static qg_status read_type(qg_ckpt_reader *r)
{
  char *text = NULL;
  int found = -1;
  QG_TRY(qg_ckpt_attribute_read_text(r->data, r->file->path, "element", 16, &text));
  for (int i = 0; i < QG_DTYPE_COUNT; i++)
    if (strcmp(qg_dtype_name((qg_dtype)i), text) == 0) found = i;
  free(text);
  QG_CHECK(found >= 0 && has_type(r->data, qg_ckpt_h5_type((qg_dtype)found)), QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" has an unknown element type", r->file->path, r->name);
  r->type = (qg_dtype)found;
  r->element_bytes = r->type == QG_U4 ? 1 : qg_dtype_bytes(r->type, 1);
  return QG_OK;
}

static qg_status open_data(qg_ckpt_reader *r)
{
  hsize_t shape[2] = {0, 0};
  QG_CHECK(H5Lexists(r->file->file, r->name, H5P_DEFAULT) > 0, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" is missing: the checkpoint is of another model or method", r->file->path,
           r->name);
  QG_H5(r->file->path, r->data = H5Dopen2(r->file->file, r->name, r->file->access));
  QG_TRY(read_type(r));
  QG_TRY(qg_ckpt_storage_check(r->file, r->name, r->data, r->element_bytes, shape));
  r->items = (int64_t)shape[0];
  r->elements = (int64_t)shape[1];
  r->blocks = qg_ckpt_block_count(r->elements, r->element_bytes, r->file->header.block_bytes);
  return QG_OK;
}

static qg_status open_sums(qg_ckpt_reader *r)
{
  char name[1024];
  hsize_t shape[2] = {0, 0};
  snprintf(name, sizeof name, "%s%s", r->name, QG_CKPT_CRC_SUFFIX);
  r->sums = H5Dopen2(r->file->file, name, r->file->access);
  QG_CHECK(r->sums >= 0 && has_type(r->sums, H5T_STD_U32LE), QG_ERR_CHECKPOINT,
           "%s: the checksums of dataset \"%s\" are missing", r->file->path, r->name);
  QG_TRY(qg_ckpt_storage_check(r->file, name, r->sums, sizeof(uint32_t), shape));
  QG_CHECK((int64_t)shape[0] == r->items && (int64_t)shape[1] == r->blocks, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" and its checksums do not fit together", r->file->path, r->name);
  return QG_OK;
}

qg_status qg_ckpt_reader_open(const qg_ckpt_file *file, const char *name, qg_ckpt_reader *out)
{
  *out = (qg_ckpt_reader){.file = file, .name = name, .data = -1, .sums = -1};
  qg_status status = open_data(out);
  if (status == QG_OK) status = open_sums(out);
  if (status != QG_OK) qg_ckpt_reader_close(out);
  return status;
}

void qg_ckpt_reader_close(qg_ckpt_reader *r)
{
  qg_h5_release(r->sums);
  qg_h5_release(r->data);
  r->data = r->sums = -1;
}

/* Elements [first, first + count) of one row of a table. */
static qg_status read_row(const qg_ckpt_reader *r, hid_t table, int64_t row, int64_t first, int64_t count,
                          hid_t type, void *buffer)
{
  qg_status status = QG_OK;
  hsize_t start[2] = {(hsize_t)row, (hsize_t)first}, block[2] = {1, (hsize_t)count}, length = (hsize_t)count;
  hid_t stored = -1, memory = -1;
  char reason[256];
  QG_H5_OUT(r->file->path, stored = H5Dget_space(table));
  QG_H5_OUT(r->file->path, memory = H5Screate_simple(1, &length, NULL));
  QG_H5_OUT(r->file->path, H5Sselect_hyperslab(stored, H5S_SELECT_SET, start, NULL, block, NULL));
  herr_t read = H5Dread(table, type, memory, stored, H5P_DEFAULT, buffer);
  QG_CHECK_OUT(read >= 0, QG_ERR_CHECKPOINT, "%s: dataset \"%s\", item %lld cannot be read: %s",
               r->file->path, r->name, (long long)row, qg_h5_reason(reason, sizeof reason));
out:
  qg_h5_release(memory);
  qg_h5_release(stored);
  return status;
}

static qg_status compare_sum(const qg_ckpt_reader *r, int64_t item, int64_t index, uint32_t crc)
{
  uint32_t expected = 0;
  QG_TRY(read_row(r, r->sums, item, index, 1, H5T_STD_U32LE, &expected));
  QG_CHECK(crc == expected, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\", item %lld is damaged (checksum of its slab %lld)", r->file->path, r->name,
           (long long)item, (long long)index);
  return QG_OK;
}

/* Versions before 0.2 wrote them. */
static qg_status check_finite(const qg_ckpt_reader *r, int64_t item, bool finite)
{
  QG_CHECK(finite, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\", item %lld holds numbers that are not finite: the run had failed before it "
           "was saved",
           r->file->path, r->name, (long long)item);
  return QG_OK;
}

static qg_ckpt_block block_at(const qg_ckpt_reader *r, int64_t index)
{
  return qg_ckpt_block_at(r->elements, r->element_bytes, r->file->header.block_bytes, index);
}

qg_status qg_ckpt_reader_read(const qg_ckpt_reader *r, int64_t item, int64_t index, void *buffer,
                              qg_ckpt_block *block)
{
  *block = block_at(r, index);
  QG_TRY(read_row(r, r->data, item, block->first, block->elements, qg_ckpt_h5_type(r->type), buffer));
  QG_TRY(compare_sum(r, item, index, qg_crc32c(0, buffer, block->bytes)));
  return check_finite(r, item, qg_ckpt_is_finite(r->type, buffer, block->bytes));
}

qg_status qg_ckpt_reader_check(const qg_ckpt_reader *r, int64_t item, int64_t index, void *buffer)
{
  qg_ckpt_block block = block_at(r, index);
  int64_t most = QG_CKPT_CHUNK / (int64_t)r->element_bytes, end = block.first + block.elements;
  uint32_t crc = 0;
  bool finite = true;
  for (int64_t first = block.first, part; first < end; first += part) {
    part = qg_min_i64(most, end - first);
    QG_TRY(read_row(r, r->data, item, first, part, qg_ckpt_h5_type(r->type), buffer));
    crc = qg_crc32c(crc, buffer, (size_t)part * r->element_bytes);
    finite &= qg_ckpt_is_finite(r->type, buffer, (size_t)part * r->element_bytes);
  }
  QG_TRY(compare_sum(r, item, index, crc));
  return check_finite(r, item, finite);
}

/* --- all datasets of a file --- */

typedef struct {
  const qg_ckpt_file *file;
  qg_ckpt_visitor visitor;
  void *context;
  qg_status status;
  int64_t datasets;
} visit;

static bool holds_sums(const char *name)
{
  size_t length = strlen(name), suffix = strlen(QG_CKPT_CRC_SUFFIX);
  return length >= suffix && strcmp(name + length - suffix, QG_CKPT_CRC_SUFFIX) == 0;
}

static qg_status visit_dataset(const visit *v, const char *name)
{
  qg_ckpt_reader reader;
  QG_TRY(qg_ckpt_reader_open(v->file, name, &reader));
  qg_status status = v->visitor(v->context, &reader);
  qg_ckpt_reader_close(&reader);
  return status;
}

static herr_t visit_object(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
  visit *v = context;
  (void)root;
  if (info->type != H5O_TYPE_DATASET || holds_sums(name)) return 0;
  v->datasets++;
  v->status = visit_dataset(v, name);
  return v->status == QG_OK ? 0 : 1;
}

qg_status qg_ckpt_for_each_dataset(const qg_ckpt_file *file, qg_ckpt_visitor visitor, void *context)
{
  visit v = {.file = file, .visitor = visitor, .context = context};
  herr_t visited = H5Ovisit(file->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &v);
  QG_TRY(v.status);
  QG_H5(file->path, visited);
  QG_CHECK(v.datasets > 0, QG_ERR_CHECKPOINT, "%s: it holds no data", file->path);
  return QG_OK;
}
