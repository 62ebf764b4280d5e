#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/token_layout.h"
#include "data/tokens_hdf5.h"
#include "qgalore/base.h"

static qg_status copy_texts(qg_tokens_writer *writer, const char *path, const qg_tokens_header *header)
{
  writer->path = strdup(path);
  writer->header = *header;
  writer->header.provenance = strdup(header->provenance ? header->provenance : "");
  QG_CHECK(writer->path && writer->header.provenance, QG_ERR_RESOURCE, "no host memory to write %s", path);
  return QG_OK;
}

qg_status qg_tokens_create(const char *path, const qg_tokens_header *header, qg_tokens_writer **out)
{
  *out = NULL;
  QG_CHECK(header->vocab_size > 0 && header->vocab_size <= QG_TOKENS_VOCAB_MAX, QG_ERR_INPUT,
           "%s: a vocabulary of %lld ids cannot be stored, only 1 to %lld", path,
           (long long)header->vocab_size, (long long)QG_TOKENS_VOCAB_MAX);
  QG_TRY(qg_check_output("the token file", path, NULL, 0)); /* before texts are read for hours */
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(qg_tokens_writer), "a token writer", &memory));
  qg_tokens_writer *writer = memory;
  qg_status status = QG_OK;
  QG_TRY_OUT(copy_texts(writer, path, header));
  QG_TRY_OUT(qg_int_file_open(&writer->tokens, path, header->vocab_size <= 65536 ? 2 : 4));
  QG_TRY_OUT(qg_int_file_open(&writer->documents, path, 8));
  *out = writer;
out:
  if (status != QG_OK) qg_tokens_discard(writer);
  return status;
}

void qg_tokens_discard(qg_tokens_writer *writer)
{
  if (!writer) return;
  qg_int_file_close(&writer->tokens);
  qg_int_file_close(&writer->documents);
  free((char *)writer->header.provenance);
  free(writer->path);
  free(writer);
}

qg_status qg_tokens_extend(qg_tokens_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes)
{
  if (count > 0 && writer->documents.count == 0) QG_TRY(qg_int_file_append(&writer->documents, 0));
  for (int64_t i = 0; i < count; i++) {
    QG_CHECK(ids[i] >= 0 && ids[i] < writer->header.vocab_size, QG_ERR_INPUT,
             "%s: token %d at position %lld is outside the vocabulary of %lld", writer->path, ids[i],
             (long long)writer->tokens.count, (long long)writer->header.vocab_size);
    QG_TRY(qg_int_file_append(&writer->tokens, (uint64_t)ids[i]));
  }
  writer->text_bytes += text_bytes;
  return QG_OK;
}

qg_status qg_tokens_append(qg_tokens_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes)
{
  if (count > 0) QG_TRY(qg_int_file_append(&writer->documents, (uint64_t)writer->tokens.count));
  return qg_tokens_extend(writer, ids, count, text_bytes);
}

static qg_status write_and_rename(qg_tokens_writer *writer)
{
  char *temporary = NULL;
  qg_status status = QG_OK;
  QG_CHECK(asprintf(&temporary, "%s.tmp", writer->path) > 0, QG_ERR_RESOURCE,
           "no host memory for the path %s", writer->path);
  QG_TRY_OUT(qg_tokens_write_hdf5(temporary, writer));
  QG_TRY_OUT(qg_sync_file(temporary)); /* H5Fclose leaves the data in the page cache */
  QG_CHECK_OUT(rename(temporary, writer->path) == 0, QG_ERR_RESOURCE, "cannot rename %s to %s: %s", temporary,
               writer->path, strerror(errno));
  QG_TRY_OUT(qg_sync_parent(writer->path));
out:
  if (status != QG_OK) unlink(temporary);
  free(temporary);
  return status;
}

qg_status qg_tokens_finish(qg_tokens_writer *writer)
{
  qg_status status = QG_OK;
  QG_CHECK_OUT(writer->tokens.count > 0, QG_ERR_INPUT, "%s: there are no tokens to write: the text is empty",
               writer->path);
  QG_TRY_OUT(write_and_rename(writer));
out:
  qg_tokens_discard(writer);
  return status;
}
