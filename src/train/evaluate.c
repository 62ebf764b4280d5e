#include "train/evaluate.h"

#include <math.h>

#include "qgalore/base.h"

/* The number of sequences is known to the ranks that read tokens; the others learn it. */
static qg_status count_sequences(const qg_pipeline *p, const qg_tokens *tokens, int64_t limit,
                                 int64_t *sequences)
{
  double count = 0.0;
  if (tokens) {
    int64_t all = qg_tokens_sequences(tokens, p->use.options.sequence_length);
    count = (double)(limit > 0 ? qg_min_i64(limit, all) : all);
  }
  QG_TRY(qg_par_max(p->use.par, &count, 1));
  *sequences = (int64_t)count;
  return QG_OK;
}

static double text_bytes_per_token(const qg_pipeline *p, const qg_tokens *tokens)
{
  if (!tokens || !qg_pipeline_is_last(p)) return 0.0;
  const qg_tokens_info *info = qg_tokens_get_info(tokens);
  return (double)info->text_bytes / (double)info->tokens;
}

/* The rows of the last micro-batch that are not asked for count nothing. */
static qg_status evaluate_piece(qg_pipeline *p, qg_tokens *tokens, int64_t first, int64_t sequences,
                                double *count)
{
  const qg_stage_options *options = &p->use.options;
  int64_t counted = 0, micro_batches = qg_ceil_div(sequences, options->micro_batch);
  if (tokens)
    QG_TRY(qg_batch_read_in_order(tokens, first, sequences, micro_batches * options->micro_batch,
                                  options->sequence_length, p->inputs.host, p->targets.host, &counted));
  QG_TRY(qg_pipeline_upload(p));
  QG_TRY(qg_pipeline_evaluate(p, (int)micro_batches));
  if (qg_pipeline_is_last(p)) *count += (double)counted;
  return QG_OK;
}

/* The pieces are whole, so nobody is inside the pipeline when all leave. */
static qg_status evaluate_all(qg_pipeline *p, qg_tokens *tokens, int64_t sequences,
                              const qg_validation_observer *observer, double *count, bool *cut_short)
{
  int64_t piece = p->use.micro_batches * p->use.options.micro_batch;
  for (int64_t first = 0; first < sequences && !*cut_short; first += piece) {
    QG_TRY(evaluate_piece(p, tokens, first, qg_min_i64(piece, sequences - first), count));
    double votes = qg_stop_vote_ask(&observer->vote);
    QG_TRY(qg_par_sum(p->use.par, &votes, 1));
    bool go_on = observer->go_on(observer->context, votes);
    *cut_short = !go_on && first + piece < sequences;
  }
  return QG_OK;
}

qg_status qg_evaluate(qg_pipeline *p, qg_tokens *tokens, int64_t limit,
                      const qg_validation_observer *observer, qg_validation_result *result)
{
  double sums[3] = {0.0, 0.0, text_bytes_per_token(p, tokens)};
  int64_t sequences = 0;
  *result = (qg_validation_result){0};
  QG_TRY(count_sequences(p, tokens, limit, &sequences));
  QG_TRY(qg_pipeline_clear_loss(p));
  QG_TRY(evaluate_all(p, tokens, sequences, observer, &sums[1], &result->cut_short));
  QG_TRY(qg_pipeline_read_loss(p, &sums[0]));
  QG_TRY(qg_par_sum(p->use.par, sums, 3));
  result->loss = sums[0] / sums[1];
  result->tokens = (int64_t)sums[1];
  result->bits_per_byte = sums[2] > 0.0 ? result->loss / log(2.0) / sums[2] : 0.0;
  return QG_OK;
}
