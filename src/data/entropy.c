#include <math.h>
#include <stdlib.h>

#include "data/tokens.h"
#include "qgalore/base.h"

enum { SLICE = 1 << 14 };

static qg_status count_tokens(qg_tokens *tokens, int64_t total, int64_t *counts)
{
  int32_t ids[SLICE];
  for (int64_t first = 0; first < total; first += SLICE) {
    int64_t n = qg_min_i64(SLICE, total - first);
    QG_TRY(qg_tokens_read(tokens, first, n, ids));
    for (int64_t i = 0; i < n; i++) counts[ids[i]]++;
  }
  return QG_OK;
}

/* H = -sum p ln p over the ids that occur. */
qg_status qg_tokens_unigram_entropy(qg_tokens *tokens, int64_t count, double *out)
{
  int64_t total = qg_min_i64(count, tokens->info.tokens);
  qg_status status = QG_OK;
  void *memory = NULL;
  *out = 0.0;
  QG_TRY_OUT(qg_calloc((size_t)tokens->info.vocab_size, sizeof(int64_t), "token counts", &memory));
  int64_t *counts = memory;
  QG_TRY_OUT(count_tokens(tokens, total, counts));
  double entropy = 0.0;
  for (int64_t id = 0; id < tokens->info.vocab_size; id++) {
    double p = (double)counts[id] / (double)total;
    if (p > 0.0) entropy -= p * log(p);
  }
  *out = entropy;
out:
  free(memory);
  return status;
}
