#include "data/token_layout.h"

#include <hdf5.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "data/hdf5_attributes.h"
#include "data/tokens.h"
#include "qgalore/base.h"
#include "qgalore/base/subprocess.h"

/* Where an open dataset lies. `type` is one of the little-endian integer types. */
typedef struct {
  int rank;
  hsize_t count;
  H5D_layout_t layout;
  haddr_t offset;
} dataset_shape;

static bool inspect(hid_t dataset, dataset_shape *shape)
{
  hid_t space = H5Dget_space(dataset), properties = H5Dget_create_plist(dataset);
  bool known = space >= 0 && properties >= 0;
  if (known) {
    shape->rank = H5Sget_simple_extent_ndims(space);
    if (shape->rank == 1) H5Sget_simple_extent_dims(space, &shape->count, NULL);
    shape->layout = H5Pget_layout(properties);
    shape->offset = H5Dget_offset(dataset);
  }
  if (properties >= 0) H5Pclose(properties);
  if (space >= 0) H5Sclose(space);
  return known;
}

/* Bytes an element, 0 if the dataset has neither of the two types. */
static size_t element_width(hid_t dataset, hid_t type, hid_t other)
{
  hid_t own = H5Dget_type(dataset);
  bool match = own >= 0 && (H5Tequal(own, type) > 0 || H5Tequal(own, other) > 0);
  size_t width = match ? H5Tget_size(own) : 0;
  if (own >= 0) H5Tclose(own);
  return width;
}

static bool fits_in_file(const dataset_shape *shape, size_t width, int64_t file_bytes)
{
  if (shape->offset == HADDR_UNDEF || shape->offset > (haddr_t)file_bytes) return false;
  return shape->count <= ((haddr_t)file_bytes - shape->offset) / width;
}

static qg_status check_dataset(hid_t dataset, const char *path, const char *name, const char *type_names,
                               size_t width, int64_t file_bytes, qg_extent *out)
{
  dataset_shape shape = {0};
  QG_CHECK(width > 0 && inspect(dataset, &shape) && shape.rank == 1, QG_ERR_INPUT,
           "%s: dataset %s is not one-dimensional of type %s: write the file with qgalore_tok", path, name,
           type_names);
  QG_CHECK(shape.layout == H5D_CONTIGUOUS, QG_ERR_INPUT,
           "%s: dataset %s is chunked or compact, it has to be contiguous: convert it with h5repack -l CONTI",
           path, name);
  QG_CHECK(
      shape.count > 0 && fits_in_file(&shape, width, file_bytes), QG_ERR_INPUT,
      "%s: dataset %s of %llu elements is empty or goes past the end of the file (%lld bytes): the file is "
      "truncated, copy it again",
      path, name, (unsigned long long)shape.count, (long long)file_bytes);
  *out = (qg_extent){.offset = (int64_t)shape.offset, .count = (int64_t)shape.count, .width = width};
  return QG_OK;
}

static qg_status locate(hid_t file, const char *path, const char *name, const char *type_names, hid_t type,
                        hid_t other, int64_t file_bytes, qg_extent *out)
{
  hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  QG_CHECK(dataset >= 0, QG_ERR_INPUT, "%s: there is no dataset %s: write the file with qgalore_tok", path,
           name);
  size_t width = element_width(dataset, type, other);
  qg_status status = check_dataset(dataset, path, name, type_names, width, file_bytes, out);
  H5Dclose(dataset);
  return status;
}

static qg_status read_datasets(hid_t file, const char *path, int64_t file_bytes, qg_token_layout *layout)
{
  QG_TRY(locate(file, path, "tokens", "u16 or u32 (little-endian)", H5T_STD_U16LE, H5T_STD_U32LE, file_bytes,
                &layout->tokens));
  QG_TRY(locate(file, path, "documents", "i64 (little-endian)", H5T_STD_I64LE, H5T_STD_I64LE, file_bytes,
                &layout->documents));
  QG_TRY(locate(file, path, "tokens.crc32c", "u32 (little-endian)", H5T_STD_U32LE, H5T_STD_U32LE, file_bytes,
                &layout->crc32c));
  int64_t blocks = qg_ceil_div(layout->tokens.count, layout->block);
  QG_CHECK(layout->crc32c.count == blocks, QG_ERR_INPUT,
           "%s: dataset tokens.crc32c has %lld checksums, %lld tokens need %lld: write the file anew with "
           "qgalore_tok",
           path, (long long)layout->crc32c.count, (long long)layout->tokens.count, (long long)blocks);
  return QG_OK;
}

/* What came with version 2. */
static qg_status read_blocks(hid_t file, const char *path, int64_t version, int64_t *block,
                             qg_tokens_info *info)
{
  *block = QG_TOKENS_CRC_BLOCK_1;
  if (version == 1) return QG_OK;
  QG_TRY(qg_attribute_read_i64(file, path, "crc_block", block));
  QG_TRY(qg_attribute_read_text(file, path, "content_id", info->content_id, sizeof info->content_id));
  QG_CHECK(*block >= 1 && *block <= QG_TOKENS_CRC_BLOCK_1, QG_ERR_INPUT,
           "%s: crc_block is %lld, expected 1 to %lld: write the file anew with qgalore_tok", path,
           (long long)*block, (long long)QG_TOKENS_CRC_BLOCK_1);
  return QG_OK;
}

static qg_status read_header(hid_t file, const char *path, int64_t *block, qg_tokens_info *info)
{
  char format[64];
  int64_t version, complete;
  QG_TRY(qg_attribute_read_text(file, path, "format", format, sizeof format));
  QG_CHECK(strcmp(format, QG_TOKENS_FORMAT) == 0, QG_ERR_INPUT,
           "%s: the format is '%s' and not '" QG_TOKENS_FORMAT "': name a file written by qgalore_tok", path,
           format);
  QG_TRY(qg_attribute_read_i64(file, path, "format_version", &version));
  QG_CHECK(version >= 1 && version <= QG_TOKENS_FORMAT_VERSION, QG_ERR_INPUT,
           "%s: format version %lld, this program reads 1 to %d: write the file anew with its qgalore_tok",
           path, (long long)version, QG_TOKENS_FORMAT_VERSION);
  QG_TRY(read_blocks(file, path, version, block, info));
  QG_TRY(qg_attribute_read_i64(file, path, "complete", &complete));
  QG_CHECK(complete == 1, QG_ERR_INPUT, "%s: writing did not finish: write the file anew with qgalore_tok",
           path);
  QG_TRY(qg_attribute_read_i64(file, path, "vocab_size", &info->vocab_size));
  QG_CHECK(info->vocab_size > 0 && info->vocab_size <= QG_TOKENS_VOCAB_MAX, QG_ERR_INPUT,
           "%s: vocab_size is %lld, expected 1 to %lld: write the file anew with qgalore_tok", path,
           (long long)info->vocab_size, (long long)QG_TOKENS_VOCAB_MAX);
  QG_TRY(qg_attribute_read_i64(file, path, "text_bytes", &info->text_bytes));
  QG_CHECK(info->text_bytes >= 0, QG_ERR_INPUT,
           "%s: text_bytes is negative: write the file anew with qgalore_tok", path);
  return qg_attribute_read_text(file, path, "tokenizer_hash", info->tokenizer_hash,
                                sizeof info->tokenizer_hash);
}

/* Read-only files on shared storage need no lock, and some file systems refuse one. */
static hid_t access_without_locks(void)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  if (access >= 0) H5Pset_file_locking(access, false, true);
#endif
  return access;
}

static qg_status read_from_hdf5(const char *path, int64_t file_bytes, qg_token_layout *layout,
                                qg_tokens_info *info)
{
  QG_CHECK(H5Fis_hdf5(path) > 0, QG_ERR_INPUT, "%s: not an HDF5 file: name a file written by qgalore_tok",
           path);
  hid_t access = access_without_locks();
  hid_t file = access >= 0 ? H5Fopen(path, H5F_ACC_RDONLY, access) : -1;
  if (access >= 0) H5Pclose(access);
  QG_CHECK(file >= 0, QG_ERR_INPUT, "%s: HDF5 cannot open it, it is truncated or damaged: copy it again",
           path);
  qg_status status = read_header(file, path, &layout->block, info);
  if (status == QG_OK) status = read_datasets(file, path, file_bytes, layout);
  H5Fclose(file);
  info->tokens = layout->tokens.count;
  info->documents = layout->documents.count;
  return status;
}

/* --- in a child process ---
 *
 * HDF5 1.10 reads past its buffers in some damaged and hostile files. Token files come from anywhere, so a
 * child process reads their structure and returns a few numbers; the tokens themselves are read without
 * HDF5. */

typedef struct {
  char path[PATH_MAX];
  int64_t bytes;
} request;

typedef struct {
  qg_token_layout layout;
  qg_tokens_info info;
} structure;

static qg_status parse_structure(const void *given, void *result)
{
  const request *r = given;
  structure *s = result;
  qg_status status;
  /* Failed probes are answers here; HDF5 would print each of them. */
  H5E_BEGIN_TRY
  {
    status = read_from_hdf5(r->path, r->bytes, &s->layout, &s->info);
  }
  H5E_END_TRY
  return status;
}

qg_status qg_token_layout_read(const char *path, int fd, qg_token_layout *layout, qg_tokens_info *info)
{
  request r = {0};
  structure s;
  bool answered;
  struct stat stat_buffer;
  QG_CHECK(fstat(fd, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode), QG_ERR_INPUT,
           "%s: not a regular file: name a file written by qgalore_tok", path);
  QG_CHECK(strlen(path) < sizeof r.path, QG_ERR_INPUT, "%.200s...: the path is too long", path);
  strcpy(r.path, path);
  r.bytes = stat_buffer.st_size;
  QG_TRY(qg_subprocess_run(parse_structure, &r, sizeof r, &s, sizeof s, &answered));
  QG_CHECK(answered, QG_ERR_INPUT, "%s: HDF5 cannot cope with its structure, it is damaged: copy it again",
           path);
  *layout = s.layout;
  *info = s.info;
  return QG_OK;
}
