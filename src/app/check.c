#include "app/check.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "app/disk_check.h"
#include "app/dry_run.h"
#include "app/report.h"
#include "qgalore/base.h"
#include "qgalore/data.h"
#include "qgalore/train.h"

/* The sums of a ledger: one, or one for each space where a device has memory of its own. */
typedef struct {
  const char *name;
  size_t (*of)(const qg_mem *mem);
} memory_sum;

static size_t on_device(const qg_mem *mem)
{
  return qg_mem_space(mem, QG_SPACE_DEVICE);
}

static size_t on_host(const qg_mem *mem)
{
  return qg_mem_space(mem, QG_SPACE_HOST);
}

static const memory_sum *sums_of(const qg_backend *be, int *count)
{
  static const memory_sum unified[] = {{"total", qg_mem_total}};
  static const memory_sum apart[] = {{"device", on_device}, {"host", on_host}};
  *count = be->ops->unified_memory ? QG_COUNT_OF(unified) : QG_COUNT_OF(apart);
  return be->ops->unified_memory ? unified : apart;
}

/* Owners before the context, and that one where there is one. */
static int owners_of(const qg_backend *be)
{
  return be->ops->unified_memory ? QG_OWNER_CONTEXT : QG_OWNER_COUNT;
}

void qg_memory_print(const qg_log *log, const qg_backend *be, const qg_mem *mem)
{
  char text[32];
  int count;
  const memory_sum *sums = sums_of(be, &count);
  for (int i = 0; i < owners_of(be); i++)
    qg_log_raw(log, "  %-12s %12s\n", qg_owner_name((qg_owner)i),
               qg_format_bytes(text, sizeof text, (double)qg_mem_bytes(mem, (qg_owner)i)));
  for (int i = 0; i < count; i++)
    qg_log_raw(log, "  %-12s %12s\n", sums[i].name,
               qg_format_bytes(text, sizeof text, (double)sums[i].of(mem)));
}

static void print_heading(const qg_log *log, const qg_backend *be)
{
  int count;
  const memory_sum *sums = sums_of(be, &count);
  qg_log_raw(log, "\n%5s %-22s %6s", "rank", "part", "cost");
  for (int i = 0; i < owners_of(be); i++) qg_log_raw(log, " %11s", qg_owner_name((qg_owner)i));
  for (int i = 0; i < count; i++) qg_log_raw(log, " %11s", sums[i].name);
  qg_log_raw(log, "\n");
}

static void describe_part(const qg_partition *part, char *text, size_t size)
{
  char layers[32] = "";
  int last = part->first_layer + part->num_layers - 1;
  if (part->num_layers == 1) snprintf(layers, sizeof layers, " layer %d", last);
  if (part->num_layers > 1) snprintf(layers, sizeof layers, " layers %d-%d", part->first_layer, last);
  snprintf(text, size, "%s%s%s", part->has_embedding ? " embed" : "", layers, part->has_head ? " head" : "");
}

typedef struct {
  double cost;
  size_t memory[QG_SPACE_COUNT]; /* of the fullest rank; unified: all of it counts as the host's */
  int64_t checkpoint;
} totals;

static void count_memory(const qg_backend *be, const qg_mem *mem, totals *sum)
{
  size_t host = be->ops->unified_memory ? qg_mem_total(mem) : on_host(mem);
  size_t device = be->ops->unified_memory ? 0 : on_device(mem);
  sum->memory[QG_SPACE_HOST] = qg_max_size(sum->memory[QG_SPACE_HOST], host);
  sum->memory[QG_SPACE_DEVICE] = qg_max_size(sum->memory[QG_SPACE_DEVICE], device);
}

static void print_row(const qg_log *log, int rank, const qg_partition *part, double cost,
                      const qg_backend *be, const qg_mem *mem)
{
  char part_text[64], text[32];
  int count;
  const memory_sum *sums = sums_of(be, &count);
  describe_part(part, part_text, sizeof part_text);
  qg_log_raw(log, "%5d%-23s %5.1f%%", rank, part_text, 100.0 * part->cost / cost);
  for (int i = 0; i < owners_of(be); i++)
    qg_log_raw(log, " %11s", qg_format_bytes(text, sizeof text, (double)qg_mem_bytes(mem, (qg_owner)i)));
  for (int i = 0; i < count; i++)
    qg_log_raw(log, " %11s", qg_format_bytes(text, sizeof text, (double)sums[i].of(mem)));
  qg_log_raw(log, "\n");
}

static double total_cost(const qg_config *c)
{
  qg_partition whole;
  return qg_model_partition(&c->model, c->train.sequence_length, 1, NULL, &whole) == QG_OK ? whole.cost : 1.0;
}

static qg_status check_stage(const qg_log *log, const qg_config *c, qg_backend *be, int ranks, int rank,
                             size_t runtime, qg_dry_run_job job, totals *sum)
{
  qg_dry_run dry;
  qg_trainer_request request = qg_dry_run_request(c, be, rank, ranks);
  qg_status status;
  QG_TRY_OUT(job(&request, runtime, &dry));
  sum->checkpoint = dry.checkpoint;
  sum->cost = dry.part.cost > sum->cost ? dry.part.cost : sum->cost;
  count_memory(be, dry.mem, sum);
  if (log) print_row(log, rank, &dry.part, total_cost(c), be, dry.mem);
out:
  qg_mem_destroy(dry.mem);
  return status;
}

/* Memory of the fullest rank with the other way to update: what choosing it costs or saves. */
static qg_status print_update(const qg_log *log, const qg_config *config, qg_backend *be, int ranks,
                              size_t runtime, const totals *chosen)
{
  static const char *const names[] = {"accumulated", "fused"};
  char bytes[32];
  bool fused = qg_config_is_fused(config);
  qg_config other = *config;
  totals sum = {0};
  if (qg_config_micro_batches(config) > 1) {
    qg_log_info(log, "update    accumulated over %lld micro-batches",
                (long long)qg_config_micro_batches(config));
    return QG_OK;
  }
  other.train.update = fused ? QG_UPDATE_ACCUMULATED : QG_UPDATE_FUSED;
  for (int rank = 0; rank < ranks; rank++)
    QG_TRY(check_stage(NULL, &other, be, ranks, rank, runtime, qg_dry_run_training, &sum));
  qg_space space = be->ops->unified_memory ? QG_SPACE_HOST : QG_SPACE_DEVICE;
  double difference = (double)sum.memory[space] - (double)chosen->memory[space];
  qg_log_info(log, "update    %s; train.update = %s would take %s %s on the fullest rank", names[fused],
              names[!fused], qg_format_bytes(bytes, sizeof bytes, fabs(difference)),
              difference < 0 ? "less" : "more");
  return QG_OK;
}

static void print_model(const qg_log *log, const qg_config *c)
{
  char text[32];
  qg_log_info(
      log,
      "model     %s parameters, %.4g FLOPs per token (6 N + 6 L C T: N matrix parameters without the input "
      "embedding, L layers, C hidden_size, T sequence_length)",
      qg_format_count(text, sizeof text, (double)qg_model_parameters(&c->model)),
      qg_model_flops_per_token(&c->model, c->train.sequence_length));
}

static void print_memory(const qg_log *log, qg_backend *be, const totals *sum)
{
  char a[32], b[32];
  size_t free, total, limit = qg_memory_limit();
  qg_log_info(log, "memory    %s on the fullest rank",
              qg_format_bytes(a, sizeof a, (double)sum->memory[QG_SPACE_HOST]));
  if (sum->memory[QG_SPACE_HOST] > limit)
    qg_log_info(
        log, "          which is more than the %s that this machine gives: more ranks, on nodes that have it",
        qg_format_bytes(b, sizeof b, (double)limit));
  if (be->ops->unified_memory) return;
  qg_log_info(log,
              "device    %s on the fullest rank; %s of it is an allowance for CUDA's context and libraries",
              qg_format_bytes(a, sizeof a, (double)sum->memory[QG_SPACE_DEVICE]),
              qg_format_bytes(b, sizeof b, (double)be->share.allowance));
  if (!be->planned && be->ops->memory_info(be, &free, &total) == QG_OK)
    qg_log_info(log, "          %s of %s are free on the device here",
                qg_format_bytes(a, sizeof a, (double)free), qg_format_bytes(b, sizeof b, (double)total));
}

static void print_totals(const qg_log *log, const qg_config *c, qg_backend *be, int ranks, const totals *sum,
                         double gemm_flops)
{
  char a[32], b[32];
  int m = (int)(c->train.global_batch / c->train.micro_batch);
  double tokens = (double)(c->train.global_batch * c->train.sequence_length);
  double wire = 2.0 * (double)qg_dtype_bytes(be->compute, (int64_t)tokens * c->model.hidden_size);
  double step = tokens * sum->cost / gemm_flops * (double)(m + ranks - 1) / (double)m;
  qg_log_info(log, "\nwire      %s a step between neighbouring ranks (both directions)",
              ranks > 1 ? qg_format_bytes(a, sizeof a, wire) : "nothing");
  qg_log_info(log, "bubble    %.1f %% of a step at %d micro-batches",
              100.0 * qg_pipeline_schedule_bubble(ranks, m), m);
  print_memory(log, be, sum);
  qg_log_info(log, "checkpoint %s", qg_format_bytes(a, sizeof a, (double)sum->checkpoint));
  if (be->planned) qg_log_info(log, "time      unknown: the device is not here");
  else
    qg_log_info(
        log,
        "time      at least %s a step and %s in all, at the GEMM rate measured here (%.0f GFLOP/s a rank)",
        qg_format_seconds(a, sizeof a, step), qg_format_seconds(b, sizeof b, step * (double)c->train.steps),
        gemm_flops / 1e9);
}

static qg_status print_plan(const qg_log *log, const qg_config *c, qg_backend *be, int ranks, size_t runtime,
                            qg_dry_run_job job, totals *sum)
{
  *sum = (totals){0};
  print_model(log, c);
  print_heading(log, be);
  for (int rank = 0; rank < ranks; rank++) QG_TRY(check_stage(log, c, be, ranks, rank, runtime, job, sum));
  return QG_OK;
}

static void warn_of_file(const qg_log *log, const qg_config *c, const char *key, const char *path)
{
  qg_tokens *tokens;
  if (qg_tokens_open(path, c->model.vocab_size, 0, &tokens) != QG_OK)
    qg_log_warn(log, "%s: %s", key, qg_error_message());
  qg_tokens_close(tokens);
}

/* What would end the run at its start. Inputs are planned before their data are made, so these are warnings.
 */
static void warn_of_paths(const qg_log *log, const qg_config *c)
{
  warn_of_file(log, c, "data.train", c->data.train);
  if (c->data.valid[0]) warn_of_file(log, c, "data.valid", c->data.valid);
  if (access(c->run.output_dir, F_OK) == 0 && access(c->run.output_dir, W_OK) != 0)
    qg_log_warn(log, "run.output_dir: %s cannot be written: %s", c->run.output_dir, strerror(errno));
}

static qg_status print_training(const qg_session *s, int ranks)
{
  totals sum;
  size_t runtime = qg_memory_resident();
  QG_TRY(print_plan(&s->log, &s->config, s->be, ranks, runtime, qg_dry_run_training, &sum));
  print_totals(&s->log, &s->config, s->be, ranks, &sum, s->gemm_flops);
  QG_TRY(qg_disk_check(&s->config, sum.checkpoint, true, &s->log));
  warn_of_paths(&s->log, &s->config);
  return print_update(&s->log, &s->config, s->be, ranks, runtime, &sum);
}

static qg_status print_evaluation(const qg_session *s, int ranks)
{
  char bytes[32];
  totals sum;
  QG_TRY(print_plan(&s->log, &s->config, s->be, ranks, qg_memory_resident(), qg_dry_run_evaluation, &sum));
  qg_log_raw(&s->log, "\n");
  print_memory(&s->log, s->be, &sum);
  qg_log_info(&s->log, "weights   %s are read of the checkpoint",
              qg_format_bytes(bytes, sizeof bytes, (double)sum.checkpoint));
  return QG_OK;
}

/* Rank 0 prints for as many ranks as were started, or as --ranks says. */
static qg_status check(qg_session *s, qg_status (*print)(const qg_session *, int ranks))
{
  qg_status status = QG_OK;
  if (qg_par_is_root(s->grid)) {
    qg_report_banner(&s->log);
    status = print(s, s->options->ranks ? s->options->ranks : s->grid->size);
  }
  return qg_par_agree(s->par, status);
}

qg_status qg_check_training(qg_session *s)
{
  return check(s, print_training);
}

qg_status qg_check_evaluation(qg_session *s)
{
  return check(s, print_evaluation);
}
