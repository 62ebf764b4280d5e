#include "data/tokens.h"
#include "qgalore/base.h"

int64_t qg_tokens_sequences(const qg_tokens *tokens, int64_t sequence_length)
{
  return sequence_length > 0 ? qg_max_i64(tokens->info.tokens - 1, 0) / sequence_length : 0;
}

/* Sequence `index` in file order: its inputs, and the same tokens one position later as targets. */
static qg_status read_sequence(qg_tokens *tokens, int64_t index, int64_t length, int32_t *inputs,
                               int32_t *targets)
{
  int64_t first = index * length;
  if (inputs) QG_TRY(qg_tokens_read(tokens, first, length, inputs));
  if (targets) QG_TRY(qg_tokens_read(tokens, first + 1, length, targets));
  return QG_OK;
}

static int32_t *row(int32_t *rows, int64_t index, int64_t length)
{
  return rows ? rows + index * length : NULL;
}

qg_status qg_batch_read(qg_tokens *tokens, uint64_t seed, int64_t cursor, int64_t sequences,
                        int64_t sequence_length, int32_t *inputs, int32_t *targets)
{
  int64_t count = qg_tokens_sequences(tokens, sequence_length);
  QG_CHECK(count > 0, QG_ERR_INPUT,
           "%s: %lld tokens do not fill one sequence of %lld and its target: use more text or a shorter "
           "sequence_length",
           tokens->path, (long long)tokens->info.tokens, (long long)sequence_length);
  for (int64_t i = 0; i < sequences; i++) {
    int64_t number = cursor + i;
    int64_t index = qg_shuffle(seed, number / count, count, number % count);
    QG_TRY(read_sequence(tokens, index, sequence_length, row(inputs, i, sequence_length),
                         row(targets, i, sequence_length)));
  }
  return QG_OK;
}

static void fill(int32_t *values, int64_t count, int32_t value)
{
  for (int64_t i = 0; values && i < count; i++) values[i] = value;
}

qg_status qg_batch_read_in_order(qg_tokens *tokens, int64_t first, int64_t wanted, int64_t sequences,
                                 int64_t sequence_length, int32_t *inputs, int32_t *targets, int64_t *counted)
{
  int64_t left = qg_tokens_sequences(tokens, sequence_length) - first;
  int64_t real = qg_min_i64(qg_min_i64(wanted, sequences), qg_max_i64(left, 0));
  *counted = 0;
  for (int64_t i = 0; i < real; i++)
    QG_TRY(read_sequence(tokens, first + i, sequence_length, row(inputs, i, sequence_length),
                         row(targets, i, sequence_length)));
  int64_t padding = (sequences - real) * sequence_length;
  fill(row(inputs, real, sequence_length), padding, 0);
  fill(row(targets, real, sequence_length), padding, -1);
  *counted = real * sequence_length;
  return QG_OK;
}
