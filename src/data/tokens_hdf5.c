#include "data/tokens_hdf5.h"

#include <endian.h>
#include <hdf5.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "data/hdf5_attributes.h"
#include "data/sha256.h"
#include "data/token_layout.h"
#include "data/tokens.h"
#include "qgalore/base.h"

static hid_t create_dataset(hid_t file, const char *name, hid_t type, int64_t count)
{
  hsize_t size = (hsize_t)count;
  hid_t space = H5Screate_simple(1, &size, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_layout(properties, H5D_CONTIGUOUS);
  H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
  /* Without times in the object headers, the same text gives the same bytes. */
  H5Pset_obj_track_times(properties, false);
  hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  H5Pclose(properties);
  H5Sclose(space);
  return dataset;
}

static bool write_slab(hid_t dataset, hid_t type, int64_t first, int64_t count, const void *data)
{
  hsize_t start = (hsize_t)first, size = (hsize_t)count;
  hid_t memory = H5Screate_simple(1, &size, NULL);
  hid_t space = H5Dget_space(dataset);
  bool written = H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &size, NULL) >= 0 &&
                 H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, data) >= 0;
  H5Sclose(space);
  H5Sclose(memory);
  return written;
}

enum { COPY = 1 << 20 }; /* elements at a time: whole blocks of checksums */

static void sum_blocks(const char *data, int64_t count, size_t width, uint32_t *sums)
{
  for (int64_t first = 0; first < count; first += QG_TOKENS_CRC_BLOCK) {
    int64_t n = qg_min_i64(QG_TOKENS_CRC_BLOCK, count - first);
    *sums++ = htole32(qg_crc32c(0, data + (size_t)first * width, (size_t)n * width));
  }
}

/* Copies a file of integers into a dataset, with the CRC32C of each block in `sums` unless that is NULL. */
static qg_status copy_ints(hid_t dataset, hid_t type, qg_int_file *ints, const char *path, uint32_t *sums)
{
  qg_status status = QG_OK;
  void *block = NULL;
  QG_TRY_OUT(qg_calloc(COPY, ints->width, "a piece of the tokens", &block));
  QG_TRY_OUT(qg_int_file_rewind(ints));
  for (int64_t first = 0; first < ints->count; first += COPY) {
    int64_t n = qg_min_i64(COPY, ints->count - first);
    QG_TRY_OUT(qg_int_file_read(ints, n, block));
    if (sums) sum_blocks(block, n, ints->width, sums + first / QG_TOKENS_CRC_BLOCK);
    QG_CHECK_OUT(write_slab(dataset, type, first, n, block), QG_ERR_RESOURCE,
                 "%s: cannot write the tokens: is the disk full?", path);
  }
out:
  free(block);
  return status;
}

static qg_status write_ints(hid_t file, const char *path, const char *name, hid_t type, qg_int_file *ints,
                            uint32_t *sums)
{
  hid_t dataset = create_dataset(file, name, type, ints->count);
  QG_CHECK(dataset >= 0, QG_ERR_RESOURCE, "%s: cannot create the dataset %s: is the disk full?", path, name);
  qg_status status = copy_ints(dataset, type, ints, path, sums);
  H5Dclose(dataset);
  return status;
}

static qg_status write_sums(hid_t file, const char *path, const uint32_t *sums, int64_t count)
{
  hid_t dataset = create_dataset(file, "tokens.crc32c", H5T_STD_U32LE, count);
  bool written = dataset >= 0 && write_slab(dataset, H5T_STD_U32LE, 0, count, sums);
  if (dataset >= 0) H5Dclose(dataset);
  QG_CHECK(written, QG_ERR_RESOURCE, "%s: cannot write the checksums: is the disk full?", path);
  return QG_OK;
}

/* So that readers need not go through the checksums. */
static qg_status write_content_id(hid_t file, const char *path, const uint32_t *sums, int64_t count)
{
  char id[QG_SHA256_HEX];
  qg_sha256 hash;
  qg_sha256_init(&hash);
  qg_sha256_update(&hash, sums, (size_t)count * sizeof *sums);
  qg_sha256_finish(&hash, id);
  return qg_attribute_write_text(file, path, "content_id", id);
}

static qg_status write_datasets(hid_t file, const char *path, qg_tokens_writer *writer)
{
  int64_t blocks = qg_ceil_div(writer->tokens.count, QG_TOKENS_CRC_BLOCK);
  hid_t type = writer->tokens.width == 2 ? H5T_STD_U16LE : H5T_STD_U32LE;
  void *sums = NULL;
  qg_status status = QG_OK;
  QG_TRY_OUT(qg_calloc((size_t)blocks, sizeof(uint32_t), "checksums", &sums));
  QG_TRY_OUT(write_ints(file, path, "tokens", type, &writer->tokens, sums));
  QG_TRY_OUT(write_sums(file, path, sums, blocks));
  QG_TRY_OUT(write_content_id(file, path, sums, blocks));
  QG_TRY_OUT(write_ints(file, path, "documents", H5T_STD_I64LE, &writer->documents, NULL));
out:
  free(sums);
  return status;
}

/* ISO 8601 in UTC. SOURCE_DATE_EPOCH (reproducible-builds.org) fixes it. */
static void format_created(char *buffer, size_t size)
{
  const char *fixed = getenv("SOURCE_DATE_EPOCH");
  qg_format_utc(buffer, size, fixed ? (time_t)strtoll(fixed, NULL, 10) : time(NULL));
}

static qg_status write_header(hid_t file, const char *path, const qg_tokens_writer *writer)
{
  char created[32];
  format_created(created, sizeof created);
  QG_TRY(qg_attribute_write_text(file, path, "format", QG_TOKENS_FORMAT));
  QG_TRY(qg_attribute_write_i64(file, path, "format_version", QG_TOKENS_FORMAT_VERSION));
  QG_TRY(qg_attribute_write_i64(file, path, "crc_block", QG_TOKENS_CRC_BLOCK));
  QG_TRY(qg_attribute_write_i64(file, path, "vocab_size", writer->header.vocab_size));
  QG_TRY(qg_attribute_write_i64(file, path, "text_bytes", writer->text_bytes));
  QG_TRY(qg_attribute_write_text(file, path, "tokenizer_hash", writer->header.tokenizer_hash));
  QG_TRY(qg_attribute_write_text(file, path, "provenance", writer->header.provenance));
  return qg_attribute_write_text(file, path, "created", created);
}

static qg_status flush(hid_t file, const char *path)
{
  QG_CHECK(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0, QG_ERR_RESOURCE, "%s: cannot write: is the disk full?",
           path);
  return QG_OK;
}

static qg_status create_and_fill(const char *path, qg_tokens_writer *writer)
{
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "%s: cannot create the file: check the folder and its permissions",
           path);
  qg_status status = QG_OK;
  QG_TRY_OUT(write_header(file, path, writer));
  QG_TRY_OUT(write_datasets(file, path, writer));
  QG_TRY_OUT(flush(file, path));
  QG_TRY_OUT(qg_attribute_write_i64(file, path, "complete", 1));
  QG_TRY_OUT(flush(file, path));
out:
  if (H5Fclose(file) < 0 && status == QG_OK)
    status = QG_FAIL(QG_ERR_RESOURCE, "%s: cannot close the file: is the disk full?", path);
  return status;
}

qg_status qg_tokens_write_hdf5(const char *path, qg_tokens_writer *writer)
{
  qg_status status;
  /* The messages here say what a user can do; HDF5 would print its own stack as well. */
  H5E_BEGIN_TRY
  {
    status = create_and_fill(path, writer);
  }
  H5E_END_TRY
  return status;
}
