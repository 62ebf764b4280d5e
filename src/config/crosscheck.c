/* Conditions between keys. Each names the key that a user would change, and what to change it to. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "config/crosscheck.h"
#include "qgalore/base.h"

/* Whether the value of a member is known to be good. */
#define VALID(loader, member) (!(loader)->settings[qg_schema_at(offsetof(qg_config, member))].bad)
#define REPORT(loader, member, ...) report((loader), offsetof(qg_config, member), __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static void report(qg_loader *loader, size_t offset, const char *fmt,
                                                         ...)
{
  int index = qg_schema_at(offset);
  const qg_setting *setting = &loader->settings[index];
  char what[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  qg_input_errors_add(&loader->errors, setting->given ? setting->origin : loader->path, "%s.%s: %s",
                      qg_schema[index].section, qg_schema[index].name, what);
}

static bool heads_are_valid(const qg_loader *loader)
{
  return VALID(loader, model.hidden_size) && VALID(loader, model.num_heads) &&
         VALID(loader, model.num_kv_heads);
}

static bool heads_fit(const qg_model_shape *m)
{
  return m->hidden_size % m->num_heads == 0 && m->num_heads % m->num_kv_heads == 0;
}

static void check_heads(qg_loader *loader)
{
  const qg_model_shape *m = &loader->config->model;
  if (!heads_are_valid(loader)) return;
  if (m->hidden_size % m->num_heads)
    REPORT(loader, model.num_heads, "%" PRId64 " does not divide hidden_size = %" PRId64 "; use a divisor",
           m->num_heads, m->hidden_size);
  else if (qg_head_dim(m) % 2)
    REPORT(loader, model.num_heads,
           "a head would be %" PRId64
           " wide; rotary positions need an even width, so change num_heads or hidden_size",
           qg_head_dim(m));
  if (m->num_heads % m->num_kv_heads)
    REPORT(loader, model.num_kv_heads, "%" PRId64 " does not divide num_heads = %" PRId64 "; use a divisor",
           m->num_kv_heads, m->num_heads);
}

/* A projector has at most as many directions as the narrowest projected matrix. */
static void check_rank(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!qg_config_projects(c) || !heads_are_valid(loader) || !heads_fit(&c->model)) return;
  if (!VALID(loader, qgalore.rank) || !VALID(loader, model.intermediate_size) ||
      !VALID(loader, optimizer.method))
    return;
  int64_t narrowest =
      qg_min_i64(qg_min_i64(c->model.hidden_size, qg_kv_size(&c->model)), c->model.intermediate_size);
  if (c->qgalore.rank > narrowest)
    REPORT(loader, qgalore.rank,
           "%" PRId64 " exceeds %" PRId64 ", the smallest dimension of a layer matrix; use at most %" PRId64,
           c->qgalore.rank, narrowest, narrowest);
}

static void check_batch(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, train.micro_batch) || !VALID(loader, train.global_batch)) return;
  if (c->train.global_batch % c->train.micro_batch)
    REPORT(loader, train.micro_batch, "%" PRId64 " does not divide global_batch = %" PRId64 "; use a divisor",
           c->train.micro_batch, c->train.global_batch);
  if (VALID(loader, train.sequence_length) && c->train.micro_batch * c->train.sequence_length > INT32_MAX)
    REPORT(loader, train.micro_batch, "a micro-batch would have %" PRId64 " tokens; at most %d are possible",
           c->train.micro_batch * c->train.sequence_length, INT32_MAX);
}

static void check_offload(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, train.activation_offload) || !VALID(loader, train.activation_checkpointing)) return;
  if (c->train.activation_offload && !c->train.activation_checkpointing)
    REPORT(loader, train.activation_offload, "%s",
           "only layer inputs can wait on the host; set activation_checkpointing = yes too");
}

static void check_update(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, train.micro_batch) || !VALID(loader, train.global_batch) || !VALID(loader, train.update))
    return;
  if (c->train.update == QG_UPDATE_FUSED && qg_config_micro_batches(c) != 1)
    REPORT(loader, train.update,
           "fused needs one micro-batch a step, not %" PRId64 "; use accumulated, or micro_batch = %" PRId64,
           qg_config_micro_batches(c), c->train.global_batch);
}

static void check_project_head(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (VALID(loader, qgalore.project_head) && VALID(loader, model.tie_embeddings) && c->qgalore.project_head &&
      c->model.tie_embeddings)
    REPORT(loader, qgalore.project_head,
           "works with an output head of its own; use no, or model.tie_embeddings = no");
}

static void check_schedule(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (VALID(loader, optimizer.warmup_steps) && VALID(loader, train.steps) &&
      c->optimizer.warmup_steps > c->train.steps)
    REPORT(loader, optimizer.warmup_steps, "%" PRId64 " exceeds train.steps = %" PRId64 "; use fewer",
           c->optimizer.warmup_steps, c->train.steps);
  if (VALID(loader, train.validate_every) && VALID(loader, data.valid) && c->train.validate_every > 0 &&
      !c->data.valid[0])
    REPORT(loader, train.validate_every, "needs data.valid; give a token file, or 0");
}

static void check_lazy(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, qgalore.max_update_gap) || !VALID(loader, qgalore.update_gap)) return;
  if (c->qgalore.max_update_gap && c->qgalore.max_update_gap < c->qgalore.update_gap)
    REPORT(loader, qgalore.max_update_gap,
           "%" PRId64 " is less than update_gap = %" PRId64 "; use a larger gap, or 0 for no limit",
           c->qgalore.max_update_gap, c->qgalore.update_gap);
}

static int64_t sum_of(const int64_t *values, int64_t count)
{
  int64_t sum = 0;
  for (int64_t i = 0; i < count; i++) sum += values[i];
  return sum;
}

static void check_stages(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, model.num_layers) || !VALID(loader, parallel.pipeline) ||
      !VALID(loader, parallel.layers_per_stage))
    return;
  int64_t layers = c->model.num_layers, stages = c->parallel.pipeline,
          given = c->parallel.layers_per_stage_count;
  int64_t sum = sum_of(c->parallel.layers_per_stage, given);
  if (given && sum != layers)
    REPORT(loader, parallel.layers_per_stage, "adds up to %" PRId64 " layers; model.num_layers is %" PRId64,
           sum, layers);
  if (given && stages && given != stages)
    REPORT(loader, parallel.layers_per_stage, "has %" PRId64 " stages; parallel.pipeline is %" PRId64, given,
           stages);
  if (stages > layers + 2)
    REPORT(loader, parallel.pipeline,
           "%" PRId64 " stages for %" PRId64 " layers, an embedding and a head; use at most %" PRId64, stages,
           layers, layers + 2);
}

/* The name becomes one folder below output_dir. */
static void check_name(qg_loader *loader)
{
  const char *name = loader->config->run.name;
  if (!VALID(loader, run.name)) return;
  if (!name[0] || name[0] == '.' || strchr(name, '/'))
    REPORT(loader, run.name, "'%s' cannot be the name of a folder; use letters, digits, '-' and '_'", name);
}

/* Losses scatter around their mean: a factor up to 1 would send every other step back. */
static void check_spike(qg_loader *loader)
{
  double factor = loader->config->run.spike_factor;
  if (VALID(loader, run.spike_factor) && factor > 0.0 && factor <= 1.0)
    REPORT(loader, run.spike_factor,
           "%g would take ordinary losses for spikes; use more than 1, or 0 for never", factor);
}

/* Of the micro-batches of an evaluation, or of those of training that it uses in their place. */
static void check_evaluation(qg_loader *loader)
{
  const qg_config *c = loader->config;
  if (!VALID(loader, evaluate.micro_batch) || !VALID(loader, train.sequence_length)) return;
  if (c->evaluate.micro_batch * c->train.sequence_length > INT32_MAX)
    REPORT(loader, evaluate.micro_batch,
           "a micro-batch would have %" PRId64 " tokens; at most %d are possible",
           c->evaluate.micro_batch * c->train.sequence_length, INT32_MAX);
}

static void check_training(qg_loader *loader)
{
  check_spike(loader);
  check_batch(loader);
  check_offload(loader);
  check_update(loader);
  check_schedule(loader);
}

static void check_projection(qg_loader *loader)
{
  check_rank(loader);
  check_project_head(loader);
  check_lazy(loader);
}

/* An empty one would be the root of the file system. */
static void check_output_dir(qg_loader *loader)
{
  if (VALID(loader, run.output_dir) && !loader->config->run.output_dir[0])
    REPORT(loader, run.output_dir, "is empty; write . for the working directory");
}

void qg_crosscheck(qg_loader *loader)
{
  check_output_dir(loader);
  check_name(loader);
  check_heads(loader);
  if (qg_loader_needs(loader, "train")) check_training(loader);
  if (qg_loader_needs(loader, "qgalore")) check_projection(loader);
  check_stages(loader);
  check_evaluation(loader);
}
