#include "app/check.h"
#include "app/footprint.h"

#include <math.h>

#include "qgalore/base.h"
#include "qgalore/ckpt.h"
#include "qgalore/train.h"

void qg_memory_print(const qg_log *log, const qg_mem *mem)
{
  char text[32];
  for (qg_owner owner = 0; owner < QG_OWNER_COUNT; owner++)
    qg_log_raw(log, "  %-12s %12s\n", qg_owner_name(owner),
               qg_format_bytes(text, sizeof text, (double)qg_mem_bytes(mem, owner)));
  qg_log_raw(log, "  %-12s %12s\n", "total", qg_format_bytes(text, sizeof text, (double)qg_mem_total(mem)));
}

static void print_heading(const qg_log *log)
{
  qg_log_raw(log, "\n%5s %-22s %6s", "rank", "part", "cost");
  for (qg_owner owner = 0; owner < QG_OWNER_COUNT; owner++) qg_log_raw(log, " %11s", qg_owner_name(owner));
  qg_log_raw(log, " %11s\n", "total");
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
  double cost, most_memory;
  int64_t checkpoint;
} totals;

static void print_row(const qg_log *log, int rank, const qg_partition *part, double cost, const qg_mem *mem)
{
  char part_text[64], text[32];
  describe_part(part, part_text, sizeof part_text);
  qg_log_raw(log, "%5d%-23s %5.1f%%", rank, part_text, 100.0 * part->cost / cost);
  for (qg_owner owner = 0; owner < QG_OWNER_COUNT; owner++)
    qg_log_raw(log, " %11s", qg_format_bytes(text, sizeof text, (double)qg_mem_bytes(mem, owner)));
  qg_log_raw(log, " %11s\n", qg_format_bytes(text, sizeof text, (double)qg_mem_total(mem)));
}

static double total_cost(const qg_config *c)
{
  qg_partition whole;
  return qg_model_partition(&c->model, c->train.sequence_length, 1, NULL, &whole) == QG_OK ? whole.cost : 1.0;
}

static qg_status check_stage(const qg_log *log, const qg_config *c, qg_backend *be, int ranks, int rank,
                             size_t runtime, totals *sum)
{
  qg_mem *mem = NULL;
  qg_trainer *trainer = NULL;
  const qg_state_entry *entries;
  int count;
  qg_status status;
  QG_TRY_OUT(qg_mem_create(NULL, &mem));
  qg_mem_note(mem, QG_OWNER_RUNTIME, runtime);
  qg_trainer_request request = {.config = c,
                                .be = be,
                                .mem = mem,
                                .stage = rank,
                                .stages = ranks,
                                .device_pointers = c->parallel.transport == QG_TRANSPORT_DEVICE};
  QG_TRY_OUT(qg_trainer_create(&request, &trainer));
  qg_mem_note(mem, QG_OWNER_RUNTIME, qg_footprint_of_libraries(c, be, trainer));
  QG_TRY_OUT(qg_optim_state(qg_trainer_optim(trainer), &entries, &count));
  sum->checkpoint = qg_ckpt_bytes(entries, count);
  const qg_partition *part = qg_trainer_partition(trainer);
  sum->cost = part->cost > sum->cost ? part->cost : sum->cost;
  double bytes = (double)qg_mem_total(mem);
  sum->most_memory = bytes > sum->most_memory ? bytes : sum->most_memory;
  if (log) print_row(log, rank, part, total_cost(c), mem);
out:
  qg_trainer_destroy(trainer);
  qg_mem_destroy(mem);
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
  for (int rank = 0; rank < ranks; rank++) QG_TRY(check_stage(NULL, &other, be, ranks, rank, runtime, &sum));
  double difference = sum.most_memory - chosen->most_memory;
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
  qg_log_info(log, "bubble    %.1f %% of a step at %d micro-batches", 100.0 * qg_schedule_bubble(ranks, m),
              m);
  qg_log_info(log, "memory    %s on the fullest rank", qg_format_bytes(a, sizeof a, sum->most_memory));
  qg_log_info(log, "checkpoint %s", qg_format_bytes(a, sizeof a, (double)sum->checkpoint));
  qg_log_info(
      log, "time      at least %s a step and %s in all, at the GEMM rate measured here (%.0f GFLOP/s a rank)",
      qg_format_seconds(a, sizeof a, step), qg_format_seconds(b, sizeof b, step * (double)c->train.steps),
      gemm_flops / 1e9);
}

qg_status qg_check_print(const qg_log *log, const qg_config *c, qg_backend *be, int ranks, double gemm_flops)
{
  totals sum = {0};
  size_t runtime = qg_memory_resident();
  print_model(log, c);
  print_heading(log);
  for (int rank = 0; rank < ranks; rank++) QG_TRY(check_stage(log, c, be, ranks, rank, runtime, &sum));
  print_totals(log, c, be, ranks, &sum, gemm_flops);
  return print_update(log, c, be, ranks, runtime, &sum);
}
