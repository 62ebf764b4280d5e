/* Uniform tokens that are a pure function of (seed, position): input for benches that need no text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/tokens.h"
#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

typedef struct {
  qg_rng rng;
  int64_t vocab_size;
} random_source;

static qg_status random_read(void *state, int64_t first, int64_t count, int32_t *out)
{
  const random_source *source = state;
  uint64_t vocab_size = (uint64_t)source->vocab_size;
  qg_rng_block words = qg_rng_draw(source->rng, (uint64_t)first >> 2);
  for (int64_t i = 0; i < count; i++) {
    uint64_t position = (uint64_t)(first + i);
    if ((position & 3) == 0) words = qg_rng_draw(source->rng, position >> 2);
    /* Multiply-shift of a 32-bit word: the bias is below vocab_size / 2^32. */
    out[i] = (int32_t)(words.v[position & 3] * vocab_size >> 32);
  }
  return QG_OK;
}

static void random_close(void *state)
{
  free(state);
}

static const qg_token_source random_operations = {.read = random_read, .close = random_close};

static qg_status parse_count(const char *path, int64_t *out)
{
  const char *digits = path + sizeof QG_TOKENS_RANDOM - 1;
  char *end;
  errno = 0;
  long long count = strtoll(digits, &end, 10);
  QG_CHECK(*digits >= '0' && *digits <= '9' && *end == '\0' && errno == 0 && count > 0, QG_ERR_INPUT,
           "%s: expected random:N with N tokens, N a whole number of at least 1", path);
  *out = count;
  return QG_OK;
}

qg_status qg_tokens_open_random(qg_tokens *tokens, int64_t vocab_size, uint64_t seed)
{
  QG_TRY(parse_count(tokens->path, &tokens->info.tokens));
  QG_CHECK(vocab_size > 0 && vocab_size <= INT32_MAX, QG_ERR_INPUT,
           "%s: random tokens need a vocabulary of 1 to %d, got %lld", tokens->path, INT32_MAX,
           (long long)vocab_size);
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(random_source), "a random token source", &memory));
  random_source *source = memory;
  source->rng = (qg_rng){.seed = seed, .purpose = QG_RNG_SYNTHETIC};
  source->vocab_size = vocab_size;
  tokens->info.documents = 1;
  tokens->info.vocab_size = vocab_size;
  snprintf(tokens->info.content_id, sizeof tokens->info.content_id, "random, seed %llu",
           (unsigned long long)seed);
  tokens->source = &random_operations;
  tokens->state = source;
  return QG_OK;
}
