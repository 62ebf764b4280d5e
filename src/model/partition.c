/* Which layers a pipeline stage holds.
 *
 * The pieces of a model stand in a row: embedding, layers, head. Stages are segments of that row, and a table
 * over (stages, pieces) finds the cheapest possible bottleneck. Every prefix is itself split best, so stages
 * beside a heavy head are even as well; among equals the later stages get more, because earlier ones hold
 * more micro-batches in flight. */
#include <math.h>
#include <stdlib.h>

#include "model/ops.h"
#include "qgalore/base.h"

typedef struct {
  int pieces, stages;
  double *prefix; /* [pieces + 1]: cost of the first i pieces */
  double *best;   /* [stages + 1][pieces + 1]: least bottleneck of the first i pieces in s stages */
  int *start;     /* [stages + 1][pieces + 1]: where the last of those s stages begins */
} split_table;

/* Sums of the same costs in another order differ by rounding only. */
static bool clearly_less(double a, double b)
{
  return isinf(b) ? a < b : a < b - 1e-12 * b;
}

static void split_table_free(split_table *table)
{
  free(table->prefix);
  free(table->best);
  free(table->start);
}

static qg_status split_table_make(split_table *table, int pieces, int stages)
{
  size_t cells = (size_t)(pieces + 1) * (size_t)(stages + 1);
  *table = (split_table){.pieces = pieces, .stages = stages};
  qg_status status = QG_OK;
  QG_TRY_OUT(qg_calloc((size_t)pieces + 1, sizeof(double), "partition costs", (void **)&table->prefix));
  QG_TRY_OUT(qg_calloc(cells, sizeof(double), "partition table", (void **)&table->best));
  QG_TRY_OUT(qg_calloc(cells, sizeof(int), "partition table", (void **)&table->start));
out:
  if (status != QG_OK) split_table_free(table);
  return status;
}

/* Piece 0 is the embedding: a lookup, no FLOPs. */
static void fill_costs(split_table *table, const qg_model_shape *shape, int64_t sequence_length)
{
  double layer = qg_model_ops_of(shape)->layer_flops(shape, sequence_length);
  table->prefix[0] = table->prefix[1] = 0;
  for (int i = 1; i < table->pieces - 1; i++) table->prefix[i + 1] = table->prefix[i] + layer;
  table->prefix[table->pieces] = table->prefix[table->pieces - 1] + qg_model_ops_of(shape)->head_flops(shape);
}

static void split_cell(split_table *table, int stages, int pieces)
{
  int width = table->pieces + 1;
  double least = INFINITY;
  int start = stages - 1;
  for (int from = stages - 1; from < pieces; from++) {
    double segment = table->prefix[pieces] - table->prefix[from];
    double bottleneck = fmax(table->best[(stages - 1) * width + from], segment);
    if (clearly_less(bottleneck, least)) {
      least = bottleneck;
      start = from;
    }
  }
  table->best[stages * width + pieces] = least;
  table->start[stages * width + pieces] = start;
}

static void split(split_table *table)
{
  int width = table->pieces + 1;
  for (int i = 0; i < width * (table->stages + 1); i++) table->best[i] = INFINITY;
  table->best[0] = 0;
  for (int s = 1; s <= table->stages; s++) {
    for (int i = s; i <= table->pieces; i++) split_cell(table, s, i);
  }
}

/* Walks back from the last stage; a piece i >= 1 is layer i - 1. */
static void read_layers(const split_table *table, int64_t *layers)
{
  int width = table->pieces + 1, end = table->pieces;
  for (int s = table->stages; s >= 1; s--) {
    int from = table->start[s * width + end];
    int first_layer = from > 0 ? from : 1;
    int last_layer = end < table->pieces ? end : table->pieces - 1;
    layers[s - 1] = qg_max_i64(0, last_layer - first_layer);
    end = from;
  }
}

static qg_status optimal_layers(const qg_model_shape *shape, int64_t sequence_length, int stages,
                                int64_t *layers)
{
  split_table table;
  QG_TRY(split_table_make(&table, (int)shape->num_layers + 2, stages));
  fill_costs(&table, shape, sequence_length);
  split(&table);
  read_layers(&table, layers);
  split_table_free(&table);
  return QG_OK;
}

static qg_status check_overrides(const qg_model_shape *shape, int stages, const int64_t *layers)
{
  int64_t sum = 0;
  for (int s = 0; s < stages; s++) {
    bool ends = s == 0 || s == stages - 1;
    QG_CHECK(layers[s] >= (ends ? 0 : 1), QG_ERR_INPUT,
             "pipeline stage %d of %d gets %lld layers; only the first (embedding) and the last (head) may "
             "have none",
             s + 1, stages, (long long)layers[s]);
    sum += layers[s];
  }
  QG_CHECK(sum == shape->num_layers, QG_ERR_INPUT,
           "the layers per pipeline stage sum to %lld, but the model has %lld layers", (long long)sum,
           (long long)shape->num_layers);
  return QG_OK;
}

static double stage_cost(const qg_model_shape *shape, int64_t sequence_length, const qg_partition *part)
{
  double cost = part->num_layers * qg_model_ops_of(shape)->layer_flops(shape, sequence_length);
  return part->has_head ? cost + qg_model_ops_of(shape)->head_flops(shape) : cost;
}

static void lay_out_stages(const qg_model_shape *shape, int64_t sequence_length, int stages,
                           const int64_t *layers, qg_partition *out)
{
  int first = 0;
  for (int s = 0; s < stages; s++) {
    out[s] = (qg_partition){.first_layer = first,
                            .num_layers = (int)layers[s],
                            .has_embedding = s == 0,
                            .has_head = s == stages - 1};
    out[s].cost = stage_cost(shape, sequence_length, &out[s]);
    first += out[s].num_layers;
  }
}

qg_status qg_model_partition(const qg_model_shape *shape, int64_t sequence_length, int stages,
                             const int64_t *layers_per_stage, qg_partition *out)
{
  QG_CHECK(stages >= 1, QG_ERR_INPUT, "%d pipeline stages; at least 1 is needed", stages);
  QG_CHECK(stages <= shape->num_layers + 2, QG_ERR_INPUT,
           "%d pipeline stages are more than the model has pieces (embedding, %lld layers, head); the "
           "largest number is %lld",
           stages, (long long)shape->num_layers, (long long)shape->num_layers + 2);
  if (layers_per_stage) {
    QG_TRY(check_overrides(shape, stages, layers_per_stage));
    lay_out_stages(shape, sequence_length, stages, layers_per_stage, out);
    return QG_OK;
  }
  int64_t *layers = NULL;
  QG_TRY(qg_calloc((size_t)stages, sizeof *layers, "layers per stage", (void **)&layers));
  qg_status status = optimal_layers(shape, sequence_length, stages, layers);
  if (status == QG_OK) lay_out_stages(shape, sequence_length, stages, layers, out);
  free(layers);
  return status;
}
