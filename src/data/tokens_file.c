/* Token files (doc/formats.md). HDF5 says where the data lies; the data, contiguous and little-endian, is
 * then read with pread: one system call for a sequence, no handle shared between ranks, and a failing disk is
 * an error instead of the signal that a memory map would give. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sha256.h"
#include "data/token_layout.h"
#include "data/tokens.h"
#include "qgalore/base.h"

enum { SLICE = 1 << 14 }; /* tokens a pass */

typedef struct {
  int fd;
  qg_tokens *tokens; /* whose source this is */
  const char *path;  /* of the qg_tokens */
  qg_token_layout layout;
  int64_t limit;          /* ids are below it */
  unsigned char *checked; /* a bit a block of tokens: its checksum and its ids have been looked at */
  uint32_t raw[SLICE];    /* a slice as it is in the file: u16 or u32 */
} file_source;

size_t qg_tokens_file_bytes(void)
{
  return sizeof(file_source);
}

/* Elements [first, first + count) of a dataset, as they are in the file. */
static qg_status read_raw(const file_source *source, qg_extent extent, int64_t first, int64_t count,
                          void *out)
{
  char *target = out;
  size_t left = (size_t)count * extent.width;
  off_t at = extent.offset + first * (int64_t)extent.width;
  while (left > 0) {
    ssize_t n = pread(source->fd, target, left, at);
    if (n < 0 && errno == EINTR) continue;
    QG_CHECK(n >= 0, QG_ERR_RESOURCE, "%s: cannot read at byte %lld: %s", source->path, (long long)at,
             strerror(errno));
    QG_CHECK(n > 0, QG_ERR_INPUT, "%s: the file ends at byte %lld, it has become shorter: copy it again",
             source->path, (long long)at);
    source->tokens->bytes_read += n;
    target += n;
    at += n;
    left -= (size_t)n;
  }
  return QG_OK;
}

static void widen(const uint32_t *raw, size_t width, int64_t count, int32_t *out)
{
  const uint16_t *narrow = (const uint16_t *)raw;
  if (width == sizeof *narrow) {
    for (int64_t i = 0; i < count; i++) out[i] = le16toh(narrow[i]);
  } else {
    for (int64_t i = 0; i < count; i++) out[i] = (int32_t)le32toh(raw[i]);
  }
}

static void file_close(void *state)
{
  file_source *source = state;
  if (source->fd >= 0) close(source->fd);
  free(source->checked);
  free(source);
}

/* The first id that is not below `limit`, or -1; u32 ids above INT32_MAX are negative here and found as well.
 */
static int64_t first_outside(const int32_t *ids, int64_t count, int64_t limit)
{
  uint32_t highest = 0;
  for (int64_t i = 0; i < count; i++) highest = (uint32_t)ids[i] > highest ? (uint32_t)ids[i] : highest;
  if (highest < limit) return -1;
  for (int64_t i = 0; i < count; i++)
    if ((uint32_t)ids[i] >= limit) return i;
  return -1;
}

typedef struct {
  uint32_t crc;
  int64_t position; /* of the first id outside the vocabulary, -1 if none */
  uint32_t id;
} block_scan;

static qg_status scan_block(file_source *source, int64_t first, int64_t count, int64_t limit,
                            block_scan *scan)
{
  int32_t ids[SLICE];
  *scan = (block_scan){.position = -1};
  qg_extent tokens = source->layout.tokens;
  for (int64_t done = 0; done < count; done += SLICE) {
    int64_t n = qg_min_i64(SLICE, count - done);
    QG_TRY(read_raw(source, tokens, first + done, n, source->raw));
    scan->crc = qg_crc32c(scan->crc, source->raw, (size_t)n * tokens.width);
    if (scan->position >= 0) continue;
    widen(source->raw, tokens.width, n, ids);
    int64_t outside = first_outside(ids, n, limit);
    if (outside < 0) continue;
    scan->position = first + done + outside;
    scan->id = (uint32_t)ids[outside];
  }
  return QG_OK;
}

/* Damage is reported before a range error, which may only follow from it. */
static qg_status check_block(file_source *source, int64_t block)
{
  int64_t first = block * source->layout.block, limit = source->limit;
  int64_t count = qg_min_i64(source->layout.block, source->layout.tokens.count - first);
  uint32_t stored;
  block_scan scan;
  QG_TRY(read_raw(source, source->layout.crc32c, block, 1, &stored));
  QG_TRY(scan_block(source, first, count, limit, &scan));
  QG_CHECK(scan.crc == le32toh(stored), QG_ERR_INPUT,
           "%s: tokens %lld to %lld are damaged (CRC32C %08x instead of %08x): copy the file again, or write "
           "it anew "
           "with qgalore_tok",
           source->path, (long long)first, (long long)(first + count - 1), scan.crc, le32toh(stored));
  QG_CHECK(
      scan.position < 0, QG_ERR_INPUT,
      "%s: token %u at position %lld is outside the vocabulary of %lld: use the tokenizer that the model was "
      "made for, or a larger vocabulary",
      source->path, scan.id, (long long)scan.position, (long long)limit);
  return QG_OK;
}

/* A block is looked at when it is first used, so that a start does not read the whole file. */
static qg_status check_blocks(file_source *source, int64_t first, int64_t count)
{
  if (count == 0) return QG_OK;
  int64_t last = (first + count - 1) / source->layout.block;
  for (int64_t block = first / source->layout.block; block <= last; block++) {
    unsigned char bit = (unsigned char)(1u << block % 8);
    if (source->checked[block / 8] & bit) continue;
    QG_TRY(check_block(source, block));
    source->checked[block / 8] |= bit;
  }
  return QG_OK;
}

static qg_status file_read(void *state, int64_t first, int64_t count, int32_t *out)
{
  file_source *source = state;
  qg_extent tokens = source->layout.tokens;
  QG_TRY(check_blocks(source, first, count));
  for (int64_t done = 0; done < count; done += SLICE) {
    int64_t n = qg_min_i64(SLICE, count - done);
    QG_TRY(read_raw(source, tokens, first + done, n, source->raw));
    widen(source->raw, tokens.width, n, out + done);
  }
  return QG_OK;
}

/* Document offsets start at 0 and increase strictly below the number of tokens. */
static qg_status check_documents(file_source *source)
{
  int64_t *starts = (int64_t *)source->raw;
  enum { STARTS = SLICE / 2 };
  qg_extent documents = source->layout.documents;
  int64_t previous = -1;
  for (int64_t first = 0; first < documents.count; first += STARTS) {
    int64_t n = qg_min_i64(STARTS, documents.count - first);
    QG_TRY(read_raw(source, documents, first, n, starts));
    for (int64_t i = 0; i < n; i++) {
      int64_t start = (int64_t)le64toh((uint64_t)starts[i]);
      bool fits = start > previous && start < source->layout.tokens.count && (first + i > 0 || start == 0);
      QG_CHECK(
          fits, QG_ERR_INPUT,
          "%s: document %lld starts at token %lld, which is not between the one before it and the end of the "
          "tokens: write the file anew with qgalore_tok",
          source->path, (long long)(first + i), (long long)start);
      previous = start;
    }
  }
  return QG_OK;
}

/* The checksums of all blocks stand for the tokens. Files of version 1 have 4 bytes for each 2^20 tokens;
 * later ones tell the result. */
static qg_status identify(file_source *source, char id[QG_SHA256_HEX])
{
  qg_sha256 hash;
  qg_extent sums = source->layout.crc32c;
  qg_sha256_init(&hash);
  for (int64_t first = 0; first < sums.count; first += SLICE) {
    int64_t n = qg_min_i64(SLICE, sums.count - first);
    QG_TRY(read_raw(source, sums, first, n, source->raw));
    qg_sha256_update(&hash, source->raw, (size_t)n * sums.width);
  }
  qg_sha256_finish(&hash, id);
  return QG_OK;
}

static qg_status file_check(void *state)
{
  file_source *source = state;
  char id[QG_SHA256_HEX];
  QG_TRY(identify(source, id));
  QG_CHECK(strcmp(id, source->tokens->info.content_id) == 0, QG_ERR_INPUT,
           "%s: its checksums are damaged, they do not give its content_id: copy the file again",
           source->path);
  QG_TRY(check_blocks(source, 0, source->layout.tokens.count));
  return check_documents(source);
}

static const qg_token_source file_operations = {.read = file_read, .check = file_check, .close = file_close};

static qg_status open_and_check(file_source *source, int64_t vocab_size, qg_tokens_info *info)
{
  /* Without waiting for a writer, where the path is a pipe. */
  source->fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  QG_CHECK(source->fd >= 0, QG_ERR_INPUT,
           "%s: cannot open the token file: %s; make one with qgalore_tok, or check the path", source->path,
           strerror(errno));
  QG_TRY(qg_token_layout_read(source->path, source->fd, &source->layout, info));
  source->limit = vocab_size > 0 ? qg_min_i64(vocab_size, info->vocab_size) : info->vocab_size;
  int64_t blocks = source->layout.crc32c.count;
  QG_TRY(qg_calloc((size_t)(blocks / 8 + 1), 1, "the list of checked blocks", (void **)&source->checked));
  return info->content_id[0] ? QG_OK : identify(source, info->content_id);
}

qg_status qg_tokens_open_file(qg_tokens *tokens, int64_t vocab_size)
{
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(file_source), "a token file's buffer", &memory));
  file_source *source = memory;
  source->fd = -1;
  source->tokens = tokens;
  source->path = tokens->path;
  tokens->source = &file_operations;
  tokens->state = source;
  return open_and_check(source, vocab_size, &tokens->info);
}
