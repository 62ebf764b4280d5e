#include <stdlib.h>
#include <string.h>

#include "data/tokens.h"
#include "qgalore/base.h"

bool qg_tokens_is_random(const char *path)
{
  return strncmp(path, QG_TOKENS_RANDOM, sizeof QG_TOKENS_RANDOM - 1) == 0;
}

static qg_status open_source(qg_tokens *tokens, const char *path, int64_t vocab_size, uint64_t seed)
{
  tokens->path = strdup(path);
  QG_CHECK(tokens->path, QG_ERR_RESOURCE, "out of memory while opening %s", path);
  if (qg_tokens_is_random(path)) return qg_tokens_open_random(tokens, vocab_size, seed);
  return qg_tokens_open_file(tokens, vocab_size);
}

qg_status qg_tokens_open(const char *path, int64_t vocab_size, uint64_t seed, qg_tokens **out)
{
  *out = NULL;
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(qg_tokens), "a token source", &memory));
  qg_tokens *tokens = memory;
  qg_status status = open_source(tokens, path, vocab_size, seed);
  if (status != QG_OK) {
    qg_tokens_close(tokens);
    return qg_error_frame(status, __FILE__, __LINE__, __func__);
  }
  *out = tokens;
  return QG_OK;
}

void qg_tokens_close(qg_tokens *tokens)
{
  if (!tokens) return;
  if (tokens->source) tokens->source->close(tokens->state);
  free(tokens->path);
  free(tokens);
}

const qg_tokens_info *qg_tokens_get_info(const qg_tokens *tokens)
{
  return &tokens->info;
}

size_t qg_tokens_buffer_bytes(void)
{
  return sizeof(qg_tokens) + qg_tokens_file_bytes();
}

qg_status qg_tokens_read(qg_tokens *tokens, int64_t first, int64_t count, int32_t *out)
{
  int64_t end = tokens->info.tokens;
  QG_CHECK(first >= 0 && count >= 0 && first <= end && count <= end - first, QG_ERR_INPUT,
           "%s: tokens %lld to %lld were asked for, the file has %lld: use a longer file or fewer tokens",
           tokens->path, (long long)first, (long long)first + count - 1, (long long)end);
  return tokens->source->read(tokens->state, first, count, out);
}

qg_status qg_tokens_check(qg_tokens *tokens)
{
  return tokens->source->check ? tokens->source->check(tokens->state) : QG_OK;
}

int64_t qg_tokens_bytes_read(const qg_tokens *tokens)
{
  return tokens->bytes_read;
}
